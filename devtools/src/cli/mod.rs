//! The commands of `weir filter`, a file a command.

mod bench;
mod inspect;
mod new;
mod test;

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use self::bench::Bench;
pub use self::inspect::Inspect;
pub use self::new::New;
pub use self::test::Test;

/// Tools for people who write filters.
#[derive(Debug, Args)]
pub struct Filter {
    #[command(subcommand)]
    command: Tool,
}

/// A command of `weir filter`, of those that need no network.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Make a project for a filter: it builds, tests and runs with the commands that are
    /// printed.
    New(New),
    /// Tell what is in a module, and which hosts could load it.
    Inspect(Inspect),
    /// Run the tests of a filter, without a network.
    ///
    /// Ends with 0 when all pass, and 1 when one fails or none can be run.
    Test(Test),
    /// Measure what a filter costs: to start, by callback, by hostcall, and in memory.
    Bench(Bench),
}

impl Filter {
    /// Runs the command that the arguments name; the code is that of the process.
    #[must_use]
    pub fn execute(self) -> ExitCode {
        self.command.execute()
    }
}

impl Tool {
    /// Runs the command; the code is that of the process.
    #[must_use]
    pub fn execute(self) -> ExitCode {
        let result = match self {
            Self::New(new) => new.execute(),
            Self::Inspect(inspect) => inspect.execute(),
            Self::Test(test) => return test.execute(),
            Self::Bench(bench) => bench.execute(),
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
