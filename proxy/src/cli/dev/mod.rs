//! `weir dev`

mod diff;
mod print;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::SystemTime;

use bytes::Bytes;
use clap::Args;
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use weir_config::{Code, Config};
use weir_devtools::Watched;
use weir_devtools::dev::{Builds, say};

use self::print::Printer;
use super::source::Source;
use super::{Error, complain};
use crate::descriptors;
use crate::discovery::Discovered;
use crate::generation::Generation;
use crate::modules;
use crate::reload::Paths;
use crate::server;
use crate::tap;

/// What is logged unless `WEIR_LOG` says otherwise: what filters say, and what goes
/// wrong.
pub(super) const LEVELS: &str = "warn,guest=info";

#[derive(Args)]
pub(super) struct Dev {
    /// The configuration, a YAML file.
    file: PathBuf,
    /// The command that builds the module of the filter NAME, where none is found:
    /// Cargo, Go, npm and make are looked for in the folders above the module. It is run
    /// by a shell in the folder that was found, or else in the module's own.
    #[arg(long = "build", value_name = "NAME=COMMAND", value_parser = command)]
    builds: Vec<(String, String)>,
}

fn command(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, command)) if !name.is_empty() && !command.is_empty() => {
            Ok((name.to_owned(), command.to_owned()))
        }
        _ => Err("write it as NAME=COMMAND".to_owned()),
    }
}

/// The files that have modules in them, with the names of the filters that have these.
type Named = BTreeMap<PathBuf, Vec<String>>;

/// Modules that are served, or may still be, by their SHA-256.
#[derive(Default)]
struct Modules {
    now: HashMap<[u8; 32], Bytes>,
    before: HashMap<[u8; 32], Bytes>,
}

impl Modules {
    fn get(&self, digest: &[u8; 32]) -> Option<Bytes> {
        self.now.get(digest).or(self.before.get(digest)).cloned()
    }
}

impl Dev {
    pub(super) fn execute(self) -> Result<(), Error> {
        let builds = Builds::new(self.builds.into_iter().collect());
        let source = Source::of_file(self.file);
        let modules: Arc<Mutex<Modules>> = Arc::default();
        descriptors::raise_limit();
        weir_abi::start_watchdog();
        let served = serving_or_signal(&builds);
        if let Some(told) = tap::install() {
            let printer = Printer::new(Arc::clone(&modules));
            thread::spawn(move || printer.run(&told));
        }
        let dev = Loader {
            builds: builds.clone(),
            source,
            modules,
        };
        let (since, (config, generation)) = loop {
            let mut looked_at = Vec::new();
            // What is built here was not changed by anybody after it was read.
            let named = dev.named(&mut looked_at);
            let built = named.and_then(|named| {
                check_names(&builds, &named)?;
                dev.build(&named);
                Ok(())
            });
            let since = SystemTime::now();
            match built.and_then(|()| dev.load(None, &mut looked_at)) {
                Ok(loaded) => break (since, loaded),
                Err(error @ Error::NoSuchFilter(_)) => return Err(error),
                Err(error) => {
                    let mut watched = Watched::default();
                    looked_at
                        .iter()
                        .for_each(|path| watched.add_read(path, since));
                    complain(&error);
                    say(format_args!("waiting for a change"));
                    watched.wait();
                }
            }
        };
        let load = Box::new(
            move |previous: Option<&Generation>, looked_at: &mut Vec<PathBuf>| {
                dev.load(previous, looked_at)
                    .map_err(|error| error.to_string())
            },
        );
        let prepared = server::prepare(
            &config,
            generation,
            since,
            None,
            Paths::default(),
            load,
            Arc::default(),
        );
        // From now on the server ends at a signal, and what was begun with it.
        drop(served);
        let result = prepared.map(server::Prepared::run);
        builds.end();
        result.map_err(Error::from)
    }
}

/// Reads the configuration, and has the modules in it built.
struct Loader {
    builds: Builds,
    source: Source,
    modules: Arc<Mutex<Modules>>,
}

impl Loader {
    /// What the configuration names; `looked_at` gets the files.
    fn named(&self, looked_at: &mut Vec<PathBuf>) -> Result<Named, Error> {
        looked_at.push(self.source.path().to_owned());
        let (config, folder) = self.source.parse(&Discovered::default())?;
        let named = named(&config, folder);
        looked_at.extend(named.keys().cloned());
        Ok(named)
    }

    /// Builds the modules that are new.
    fn build(&self, named: &Named) {
        let modules = named.iter();
        self.builds
            .follow(modules.map(|(path, names)| (&names[..], &**path)));
    }

    /// Reads the configuration, has what is new in it built, and tries it out.
    fn load(
        &self,
        previous: Option<&Generation>,
        looked_at: &mut Vec<PathBuf>,
    ) -> Result<(Config, Generation), Error> {
        let named = self.named(looked_at)?;
        self.build(&named);
        let loaded = self
            .source
            .load(&Discovered::default(), previous, looked_at)?;
        // One that has changed since is not found by its digest, and is loaded next.
        let read = named.keys().filter_map(|path| std::fs::read(path).ok());
        let now = read.map(|bytes| (Sha256::digest(&bytes).into(), bytes.into()));
        let now = now.collect();
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.before = std::mem::replace(&mut modules.now, now);
        Ok(loaded)
    }
}

/// Ends all builds at SIGINT and SIGTERM; the process as well, unless it serves by then,
/// which is when what this gives is dropped.
fn serving_or_signal(builds: &Builds) -> mpsc::Sender<()> {
    let (serves, not_yet) = mpsc::channel();
    let builds = builds.clone();
    // From here on a signal ends no process whose builds would be left.
    let listening = {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        runtime.and_then(|runtime| {
            let entered = runtime.enter();
            let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
            drop(entered);
            let [interrupt, terminate] = signals;
            Ok((runtime, interrupt?, terminate?))
        })
    };
    thread::spawn(move || {
        let Ok((runtime, mut interrupt, mut terminate)) = listening else {
            return;
        };
        let signalled = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            }
        });
        builds.end();
        let serves = not_yet.try_recv() == Err(mpsc::TryRecvError::Disconnected);
        if !serves {
            // As a shell tells of a process that a signal has ended.
            std::process::exit(128 + signalled.as_raw_value());
        }
    });
    serves
}

/// Commands are for filters that there are.
fn check_names(builds: &Builds, named: &Named) -> Result<(), Error> {
    let is_there = |name: &str| named.values().flatten().any(|n| n == name);
    match builds.names().find(|name| !is_there(name)) {
        Some(name) => Err(Error::NoSuchFilter(name.to_owned())),
        None => Ok(()),
    }
}

/// The files that have modules in them.
fn named(config: &Config, folder: &Path) -> Named {
    let mut named = Named::new();
    for filter in modules::filters(config) {
        for wasm in filter.versions() {
            if let Code::File(path) = &wasm.vm_config.code.value {
                let names = named.entry(folder.join(&path.value)).or_default();
                names.push(filter.name.value.clone());
            }
        }
    }
    named
}
