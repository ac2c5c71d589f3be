//! [`Builds`]: builds modules when their sources change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::project::Project;
use super::sources::Sources;

/// How often sources are looked at.
const SOURCES_INTERVAL: Duration = Duration::from_millis(200);

/// How often it is asked whether a build has ended.
const BUILD_INTERVAL: Duration = Duration::from_millis(20);

/// Builds modules when their sources change, until it is told to end.
#[derive(Clone)]
pub struct Builds {
    /// Commands that were given, by the filter whose module they build.
    commands: Arc<BTreeMap<String, String>>,
    builder: Builder,
    /// Projects that are new, each with whom it is told that it was built: to a thread
    /// of their own, as whoever finds them may be one with a low priority, which
    /// compilers would have from it.
    new: Sender<(Project, Sender<()>)>,
}

#[derive(Clone, Default)]
struct Builder(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Modules that have been told of.
    known: BTreeSet<PathBuf>,
    projects: Vec<Project>,
    /// Process groups of builds. A group is here as long as its leader is not reaped.
    running: BTreeSet<i32>,
    ended: bool,
}

impl Builds {
    /// Builds with these commands, by the name of a filter; other modules by what is
    /// found beside them.
    #[must_use]
    pub fn new(commands: BTreeMap<String, String>) -> Self {
        let builder = Builder::default();
        let (new, projects) = channel::<(Project, Sender<()>)>();
        let own = builder.clone();
        thread::spawn(move || {
            for (project, built) in projects {
                own.begin(project);
                // Whoever waits for it may have gone.
                let _ = built.send(());
            }
        });
        Self {
            commands: Arc::new(commands),
            builder,
            new,
        }
    }

    /// Looks for the projects of modules, given with the names of their filters, and
    /// builds those that are new, once now and again whenever their sources change. What
    /// is found is printed.
    pub fn follow<'a>(&self, modules: impl IntoIterator<Item = (&'a [String], &'a Path)>) {
        for (names, module) in modules {
            let module = std::path::absolute(module).unwrap_or_else(|_| module.to_owned());
            if !self.builder.state().known.insert(module.clone()) {
                continue;
            }
            let with_command = names.iter().find(|name| self.commands.contains_key(*name));
            let Some(name) = with_command.or(names.first()) else {
                continue;
            };
            let command = self.commands.get(name).map(String::as_str);
            let Some(project) = Project::of(&module, command) else {
                say(format_args!(
                    "{name}: no project is found above {}; `--build {name}=COMMAND` tells how \
                     it is built",
                    module.display()
                ));
                continue;
            };
            say(format_args!(
                "{name}: {} ({}), built by `{}`",
                project.folder.display(),
                project.mark,
                project.command
            ));
            let (built, is_built) = channel();
            if self.new.send((project, built)).is_ok() {
                let _ = is_built.recv();
            }
        }
    }

    /// Ends all builds, and builds nothing more.
    pub fn end(&self) {
        let mut state = self.builder.state();
        state.ended = true;
        for group in &state.running {
            end_group(*group);
        }
    }

    /// The names of filters for which commands were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.commands.keys().map(String::as_str)
    }
}

impl Builder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds a project, and looks after its sources from then on.
    fn begin(&self, project: Project) {
        if self.state().projects.contains(&project) {
            return;
        }
        self.state().projects.push(project.clone());
        let mut built = Sources::of(&project.folder, &Sources::default());
        self.build(&project);
        // The first build writes down which versions it has taken.
        built.take_locks(Sources::of(&project.folder, &built));
        let builder = self.clone();
        thread::spawn(move || builder.watch(&project, built));
    }

    /// Builds a project again whenever its sources are others than `built`.
    fn watch(&self, project: &Project, mut built: Sources) {
        while !self.state().ended {
            thread::sleep(SOURCES_INTERVAL);
            let mut found = Sources::of(&project.folder, &built);
            if found.is_same(&built) {
                built = found;
                continue;
            }
            // Somebody may still be writing.
            loop {
                thread::sleep(SOURCES_INTERVAL / 4);
                let next = Sources::of(&project.folder, &found);
                let settled = next.is_same(&found);
                found = next;
                if settled {
                    break;
                }
            }
            self.build(project);
            built = found;
        }
    }

    fn build(&self, project: &Project) {
        say(format_args!("building: {}", project.command));
        let began = Instant::now();
        let result = self.run(project);
        let took = Duration::from_millis(began.elapsed().as_millis() as u64);
        let took = humantime::format_duration(took);
        match result {
            _ if self.state().ended => {}
            Ok(status) if status.success() => say(format_args!("built in {took}")),
            Ok(status) => say(format_args!(
                "the build has failed ({status}) in {}; what was built before stays",
                project.folder.display()
            )),
            Err(error) => say(format_args!(
                "cannot build in {}: {error}",
                project.folder.display()
            )),
        }
    }

    fn run(&self, project: &Project) -> io::Result<ExitStatus> {
        let mut command = Command::new("sh");
        command
            .args(["-c", &project.command])
            .current_dir(&project.folder)
            .envs(
                project
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            // All that it starts ends with it.
            .process_group(0);
        let mut child = {
            let mut state = self.state();
            if state.ended {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let child = command.spawn()?;
            state.running.insert(group(&child));
            child
        };
        loop {
            {
                // Whoever ends groups must not meet one whose number is another's.
                let mut state = self.state();
                if let Some(status) = child.try_wait()? {
                    state.running.remove(&group(&child));
                    return Ok(status);
                }
            }
            thread::sleep(BUILD_INTERVAL);
        }
    }
}

/// Prints a line. Whoever has read standard output may have gone.
pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn group(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap_or_default()
}

fn end_group(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        // One that has ended by itself is what is wanted.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
