//! `weir dev`

mod diff;
mod print;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::SystemTime;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use weir_config::{Code, Config};
use weir_devtools::Watched;
use weir_devtools::dev::Builds;

use self::print::Printer;
use super::source::Source;
use super::{Error, complain};
use crate::descriptors;
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

/// The files that have modules in them, by the names of filters.
type Modules = BTreeMap<PathBuf, String>;

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
        check_names(&builds, &source)?;
        let load = {
            let builds = builds.clone();
            move |previous: Option<&Generation>, looked_at: &mut Vec<PathBuf>| {
                looked_at.push(source.path().to_owned());
                let (config, folder) = source.parse()?;
                let named = named(&config, folder);
                looked_at.extend(named.keys().cloned());
                builds.follow(
                    named
                        .iter()
                        .map(|(path, name)| (name.as_str(), path.clone())),
                );
                *modules.lock().unwrap_or_else(PoisonError::into_inner) = named;
                source.load(previous, looked_at)
            }
        };
        let (since, (config, generation)) = loop {
            let since = SystemTime::now();
            let mut looked_at = Vec::new();
            match load(None, &mut looked_at) {
                Ok(loaded) => break (since, loaded),
                Err(error) => {
                    let mut watched = Watched::default();
                    looked_at.iter().for_each(|path| watched.add(path));
                    complain(&error);
                    println!("waiting for a change");
                    watched.wait();
                }
            }
        };
        let load = Box::new(
            move |previous: Option<&Generation>, looked_at: &mut Vec<PathBuf>| {
                load(previous, looked_at).map_err(|error| error.to_string())
            },
        );
        let prepared = server::prepare(&config, generation, since, None, Paths::default(), load);
        // From now on the server ends at a signal, and what was begun with it.
        drop(served);
        let result = prepared.map(server::Prepared::run);
        builds.end();
        result.map_err(Error::from)
    }
}

/// Ends all builds at SIGINT and SIGTERM; the process as well, unless it serves by then,
/// which is when what this gives is dropped.
fn serving_or_signal(builds: &Builds) -> mpsc::Sender<()> {
    let (serves, not_yet) = mpsc::channel();
    let builds = builds.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let Ok(runtime) = runtime else { return };
        let signalled = runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).ok()?;
            let mut terminate = signal(SignalKind::terminate()).ok()?;
            Some(tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            })
        });
        builds.end();
        let serves = not_yet.try_recv() == Err(mpsc::TryRecvError::Disconnected);
        if let Some(signal) = signalled
            && !serves
        {
            // As a shell tells of a process that a signal has ended.
            std::process::exit(128 + signal.as_raw_value());
        }
    });
    serves
}

/// Commands are for filters that there are.
fn check_names(builds: &Builds, source: &Source) -> Result<(), Error> {
    let (config, folder) = source.parse()?;
    let named = named(&config, folder);
    let is_there = |name: &str| named.values().any(|n| n == name);
    match builds.names().find(|name| !is_there(name)) {
        Some(name) => Err(Error::NoSuchFilter(name.to_owned())),
        None => Ok(()),
    }
}

/// The files that have modules in them. One that several filters have is called by the
/// first.
fn named(config: &Config, folder: &Path) -> Modules {
    let mut modules = Modules::new();
    for filter in modules::filters(config) {
        for wasm in filter.versions() {
            if let Code::File(path) = &wasm.vm_config.code.value {
                let name = || filter.name.value.clone();
                modules.entry(folder.join(&path.value)).or_insert_with(name);
            }
        }
    }
    modules
}
