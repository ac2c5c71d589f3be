//! `weir filter`: what people who write filters need, a file a command.

mod test;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Args)]
pub(super) struct Filter {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the tests of a filter, without a network.
    ///
    /// Ends with 0 when all pass, and 1 when one fails or none can be run.
    Test(test::Test),
}

impl Filter {
    pub(super) fn execute(self) -> ExitCode {
        match self.command {
            Command::Test(test) => test.execute(),
        }
    }
}
