//! `weir check`

use clap::Args;
use weir_config::Listener;

use super::Error;
use super::source::Source;
use crate::discovery::Discovered;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
}

impl Check {
    pub(super) fn execute(self) -> Result<(), Error> {
        let (config, _) = self
            .source
            .load(&Discovered::default(), None, &mut Vec::new())?;
        let filters = config.listeners.iter().flat_map(Listener::chains);
        let filters: usize = filters.map(|chain| chain.http_filters.len()).sum();
        println!(
            "{}: ok: {}, {}, {}",
            self.source.path().display(),
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
