//! `weir schema`

use clap::Args;

#[derive(Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(self) {
        println!("{:#}", weir_config::schema());
    }
}
