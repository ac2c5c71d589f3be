//! The command line, a file a command.

mod check;
mod import;
mod run;
mod source;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weir_config::ConfigErrors;

/// A reverse proxy that runs the filters people already wrote for Envoy.
#[derive(Parser)]
#[command(name = "weir", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve what a configuration describes, until SIGTERM or SIGINT.
    Run(run::Run),
    /// Validate a configuration and everything it names, modules included.
    Check(check::Check),
    /// Turn Envoy's bootstrap into Weir's own form, on standard output.
    Import(import::Import),
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    init_logging();
    let result = match cli.command {
        Command::Run(run) => run.execute(),
        Command::Check(check) => check.execute(),
        Command::Import(import) => import.execute(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Config(errors)) => {
            eprint!("{}", report(&errors));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a command can fail with.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}", .0.plain())]
    Config(ConfigErrors),
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot take over by {}: {source}", path.display())]
    Takeover {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl From<ConfigErrors> for Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

fn report(errors: &ConfigErrors) -> String {
    if std::io::stderr().is_terminal() {
        errors.fancy(true)
    } else {
        errors.plain()
    }
}

/// Logs to standard error; `WEIR_LOG` filters (`info`, `debug`, `guest=trace`, …).
fn init_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("WEIR_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,pingora_core=warn,pingora_runtime=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
