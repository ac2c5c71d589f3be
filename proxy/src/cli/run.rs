//! `weir run`

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::Error;
use super::source::Source;
use crate::server;

#[derive(Args)]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    /// Write the admin's address to this file once everything is ready.
    #[arg(long, value_name = "FILE")]
    admin_address_path: Option<PathBuf>,
    /// Workers, whatever the configuration says.
    #[arg(long, value_name = "N")]
    concurrency: Option<NonZeroUsize>,
}

impl Run {
    pub(super) fn execute(self) -> Result<(), Error> {
        let (mut config, generation) = self.source.load()?;
        config.workers = self.concurrency.or(config.workers);
        server::prepare(&config, generation, self.admin_address_path)?.run();
        Ok(())
    }
}
