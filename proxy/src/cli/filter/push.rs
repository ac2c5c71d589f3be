//! `weir filter push`

use std::path::PathBuf;

use clap::Args;
use weir_config::ImageReference;

use super::RegistryOptions;
use crate::publish::{self, Layout, PublishError};

#[derive(Args)]
pub(super) struct Push {
    /// The module.
    file: PathBuf,
    /// Where it goes: `oci://registry/repository:tag`.
    image: ImageReference,
    /// How it is laid out there.
    #[arg(long, value_enum, default_value_t)]
    layout: Layout,
    /// Upload it in pieces of so many bytes, which is otherwise done where a registry
    /// does not take it as a whole.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    chunk_size: Option<u32>,
    #[command(flatten)]
    registry: RegistryOptions,
}

impl Push {
    pub(super) fn execute(self) -> Result<(), PublishError> {
        let module = publish::module(&self.file)?;
        let door = self.registry.door();
        let chunk = self.chunk_size.map(|bytes| bytes as usize);
        let pushed = publish::push(&self.image, &module, self.layout, &door, chunk)?;
        eprintln!("pushed {}; in a configuration:\n", self.file.display());
        eprintln!("    code: {{ remote: {{ uri: \"{pushed}\" }} }}\n");
        println!("{pushed}");
        Ok(())
    }
}
