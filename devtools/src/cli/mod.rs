//! The commands of `weir filter`, a file a command.

mod bench;
mod inspect;
mod new;
mod test;

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Tools for people who write filters.
#[derive(Debug, Args)]
pub struct Filter {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a project for a filter: it builds, tests and runs with the commands that are
    /// printed.
    New(new::New),
    /// Tell what is in a module, and which hosts could load it.
    Inspect(inspect::Inspect),
    /// Run the tests of a filter, without a network.
    ///
    /// Ends with 0 when all pass, and 1 when one fails or none can be run.
    Test(test::Test),
    /// Measure what a filter costs: to start, by callback, by hostcall, and in memory.
    Bench(bench::Bench),
}

impl Filter {
    /// Runs the command that the arguments name; the code is that of the process.
    #[must_use]
    pub fn execute(self) -> ExitCode {
        let result = match self.command {
            Command::New(new) => new.execute(),
            Command::Inspect(inspect) => inspect.execute(),
            Command::Test(test) => return test.execute(),
            Command::Bench(bench) => bench.execute(),
        };
        result.unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
