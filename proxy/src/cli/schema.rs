//! `weir schema`

use clap::Args;

use super::{Error, print};

#[derive(Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(self) -> Result<(), Error> {
        print(format_args!("{:#}\n", weir_config::schema()))
    }
}
