//! The command line, a file a command.

mod check;
mod completions;
mod dev;
mod diff;
mod envoy;
mod filter;
mod import;
mod log;
mod man;
mod run;
mod schema;
mod sidecar;
mod source;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use weir_config::ConfigErrors;

/// A reverse proxy that runs the filters people already wrote for Envoy.
#[derive(Parser)]
#[command(name = "weir", version)]
struct Cli {
    /// How Weir logs, on standard error.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: log::LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve what a configuration describes, until SIGTERM or SIGINT.
    Run(run::Run),
    /// Validate a configuration and everything it names, modules included.
    Check(check::Check),
    /// Serve a configuration, build its filters again when their sources change, and
    /// print what each of them does to each request.
    Dev(dev::Dev),
    /// Tell what a reload from one configuration to another would do.
    ///
    /// Ends with 0 when nothing changes, 1 when something does, and 2 when one of them
    /// is not valid.
    Diff(diff::Diff),
    /// Stand where Envoy is started: takes Envoy's arguments, and reads Envoy's bootstrap.
    ///
    /// The same as a program that is called `envoy`. `weir envoy --help` lists what is
    /// taken.
    #[command(disable_help_flag = true)]
    Envoy {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Tools for people who write filters.
    Filter(filter::Filter),
    /// Turn Envoy's bootstrap into Weir's own form, on standard output.
    Import(import::Import),
    /// Serve next to a service whose connections the system redirects here, as a
    /// management server says.
    Sidecar(Box<sidecar::Sidecar>),
    /// Print the JSON schema of Weir's own configuration, for editors.
    Schema(schema::Schema),
    /// Print a page of the manual, in roff: `weir man | man -l -`.
    Man(man::Man),
    /// Print what a shell needs to complete command lines.
    Completions(completions::Completions),
}

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    // Options of these names mean something else there.
    let cli = match envoy::arguments(std::env::args_os()) {
        Some(arguments) => Cli {
            log_format: log::LogFormat::default(),
            command: Command::Envoy { arguments },
        },
        None => Cli::parse(),
    };
    let (envoy, levels) = match &cli.command {
        Command::Dev(_) => (None, dev::LEVELS.to_owned()),
        Command::Envoy { arguments } => {
            let envoy = envoy::Envoy::read(arguments);
            let levels = envoy.levels();
            (Some(envoy), levels)
        }
        _ => (None, log::DEFAULT.to_owned()),
    };
    if let Err(error) = log::init(cli.log_format, &levels) {
        eprintln!("error: WEIR_LOG: {error}");
        return ExitCode::FAILURE;
    }
    let result = match cli.command {
        Command::Envoy { .. } => envoy.map_or(Ok(()), envoy::Envoy::execute),
        Command::Run(run) => run.execute(),
        Command::Check(check) => check.execute(),
        Command::Dev(dev) => dev.execute(),
        Command::Diff(diff) => return diff.execute(),
        Command::Filter(filter) => return filter.execute(),
        Command::Import(import) => import.execute(),
        Command::Sidecar(sidecar) => sidecar.execute(),
        Command::Schema(schema) => schema.execute(),
        Command::Man(man) => man.execute(Cli::command()).map_err(Error::Print),
        Command::Completions(completions) => {
            completions.execute(Cli::command()).map_err(Error::Print)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints what a command is asked for. Who has read enough of it may close the pipe.
fn print(text: impl fmt::Display) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    let printed = write!(output, "{text}").and_then(|()| output.flush());
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Print(error)),
        _ => Ok(()),
    }
}

/// Tells what has gone wrong.
fn complain(error: &Error) {
    match error {
        Error::Config(errors) => eprint!("{}", report(errors)),
        error => eprintln!("error: {error}"),
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
    #[error("{0}")]
    Print(std::io::Error),
    #[error("no filter with a module in a file is called `{0}`, for which --build gives a command")]
    NoSuchFilter(String),
    #[error("{0}")]
    Rules(#[from] sidecar::StepError),
    #[error("{0}")]
    Mesh(#[from] sidecar::MeshError),
    #[error("{0}")]
    Bootstrap(#[from] envoy::BootstrapError),
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
