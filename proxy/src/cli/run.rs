//! `weir run`

use std::path::PathBuf;

use clap::Args;

use super::Error;
use crate::server;

#[derive(Args)]
pub(super) struct Run {
    /// The configuration, a YAML file.
    file: PathBuf,
    /// Write the admin's address to this file once everything is ready.
    #[arg(long, value_name = "FILE")]
    admin_address_path: Option<PathBuf>,
}

impl Run {
    pub(super) fn execute(self) -> Result<(), Error> {
        let (config, generation) = super::load(&self.file)?;
        server::prepare(&config, generation, self.admin_address_path)?.run();
        Ok(())
    }
}
