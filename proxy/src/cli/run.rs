//! `weir run`

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use weir_config::Config;

use super::Error;
use super::source::Source;
use crate::descriptors;
use crate::discovery::Discovered;
use crate::generation::Generation;
use crate::reload::{self, Paths};
use crate::server;

#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    start: Start,
}

/// How a process begins to serve, whatever it is.
#[derive(Debug, Default, Args)]
pub(super) struct Start {
    /// Write the admin's address to this file once everything is ready.
    #[arg(long, value_name = "FILE")]
    pub(super) admin_address_path: Option<PathBuf>,
    /// Take over from the Weir that can be found at this path, if there is one, and be
    /// found there by the next.
    #[arg(long, value_name = "FILE")]
    pub(super) takeover_path: Option<PathBuf>,
    /// Workers, whatever the configuration says.
    #[arg(long, value_name = "N")]
    pub(super) concurrency: Option<NonZeroUsize>,
}

impl Run {
    pub(super) fn execute(self) -> Result<(), Error> {
        let Self { source, start } = self;
        start.serve(move |discovered, previous, looked_at| {
            source.load(discovered, previous, looked_at)
        })
    }
}

impl Start {
    /// Serves what `load` reads, once now and again at every reload, with what has been
    /// discovered.
    pub(super) fn serve(
        self,
        load: impl Fn(
            &Discovered,
            Option<&Generation>,
            &mut Vec<PathBuf>,
        ) -> Result<(Config, Generation), Error>
        + Send
        + Sync
        + 'static,
    ) -> Result<(), Error> {
        let Self {
            admin_address_path,
            takeover_path,
            concurrency,
        } = self;
        descriptors::raise_limit();
        weir_abi::start_watchdog();
        let discovered: Arc<Discovered> = Arc::default();
        let added = Arc::clone(&discovered);
        let load = move |previous: Option<&Generation>, looked_at: &mut Vec<PathBuf>| {
            let (mut config, generation) = load(&added, previous, looked_at)?;
            config.workers = concurrency.or(config.workers);
            Ok::<_, Error>((config, generation))
        };
        let since = SystemTime::now();
        let (config, generation) = load(None, &mut Vec::new())?;
        let load = Box::new(
            move |previous: Option<&Generation>, looked_at: &mut Vec<PathBuf>| {
                load(previous, looked_at).map_err(|error| error.to_string())
            },
        );
        // Late: from now on the process before waits for this one.
        let inherited = match &takeover_path {
            Some(path) => reload::inherit(path).map_err(|source| Error::Takeover {
                path: path.clone(),
                source,
            })?,
            None => None,
        };
        let paths = Paths {
            admin_address: admin_address_path,
            takeover: takeover_path,
        };
        server::prepare(
            &config, generation, since, inherited, paths, load, discovered,
        )?
        .run();
        Ok(())
    }
}
