//! `weir completions`

use std::io::{self, Write as _};

use clap::Args;
use clap_complete::Shell;

#[derive(Args)]
pub(super) struct Completions {
    /// The shell that is to complete.
    shell: Shell,
}

impl Completions {
    /// Prints what the shell is to read.
    pub(super) fn execute(self, mut cli: clap::Command) -> io::Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut cli, "weir", &mut text);
        io::stdout().write_all(&text)
    }
}
