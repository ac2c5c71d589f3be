//! `weir check`

use std::path::PathBuf;

use clap::Args;

use super::Error;

#[derive(Args)]
pub(super) struct Check {
    /// The configuration, a YAML file.
    file: PathBuf,
}

impl Check {
    pub(super) fn execute(self) -> Result<(), Error> {
        let (config, _) = super::load(&self.file)?;
        let filters: usize = config.listeners.iter().map(|l| l.http_filters.len()).sum();
        println!(
            "{}: ok: {}, {}, {}",
            self.file.display(),
            counted(config.listeners.len(), "listener"),
            counted(filters, "filter"),
            counted(config.clusters.len(), "cluster"),
        );
        Ok(())
    }
}

fn counted(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}
