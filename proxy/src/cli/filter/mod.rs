//! `weir filter`: the tools that need no network, and those that publish.

mod push;
mod sign;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::modules::Door;

/// Tools for people who write filters.
#[derive(Args)]
pub(super) struct Filter {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Tool(weir_devtools::Tool),
    /// Put a module into a registry, and print the reference by which it is fetched.
    Push(push::Push),
    /// Sign a module in a file, or an image in its registry, so that `verify` takes it.
    Sign(sign::Sign),
}

impl Filter {
    /// Runs the command that the arguments name; the code is that of the process.
    pub(super) fn execute(self) -> ExitCode {
        let result = match self.command {
            Command::Tool(tool) => return tool.execute(),
            Command::Push(push) => push.execute(),
            Command::Sign(sign) => sign.execute(),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// How to get into a registry.
#[derive(Args)]
struct RegistryOptions {
    /// A Docker `config.json` with the credentials for the registry, in place of
    /// `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`. Helpers that it names are
    /// not run.
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,
    /// Certificates in PEM that the registry's must descend from, in place of those
    /// that browsers trust.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Speak to a registry without TLS that is not on this machine.
    #[arg(long)]
    insecure: bool,
    /// What all of it may take, such as `90s`.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl RegistryOptions {
    fn door(self) -> Door {
        let by_name = self.auth.is_some();
        let credentials = self.auth.or_else(default_credentials);
        Door {
            credentials: credentials.map(|path| (path, by_name)),
            ca_file: self.ca_file,
            insecure: self.insecure,
            timeout: self.timeout,
        }
    }
}

/// Where `docker login` writes them.
fn default_credentials() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let docker = folder("DOCKER_CONFIG").or_else(|| Some(folder("HOME")?.join(".docker")));
    docker.map(|docker| docker.join("config.json"))
}
