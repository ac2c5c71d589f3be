//! `weir import`

use std::path::PathBuf;

use clap::Args;

use super::{Error, source};

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
        print!("{}", config.to_yaml());
        Ok(())
    }
}
