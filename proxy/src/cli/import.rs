//! `weir import`

use std::path::PathBuf;

use clap::Args;

use super::{Error, print, source};

#[derive(Args)]
pub(super) struct Import {
    /// A static bootstrap of Envoy's, in YAML or JSON.
    file: PathBuf,
    /// Pass over what Weir does not do, with a warning, instead of refusing it.
    #[arg(long)]
    lenient: bool,
}

impl Import {
    pub(super) fn execute(self) -> Result<(), Error> {
        let config = source::read_envoy(&self.file, self.lenient)?;
        if let Some(dynamic) = &config.dynamic_resources {
            let message = "what comes from a management server cannot be written down";
            let error = config.error(dynamic.cluster.span, message);
            return Err(weir_config::ConfigErrors::from(error).into());
        }
        print(config.to_yaml())
    }
}
