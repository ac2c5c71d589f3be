//! `weir sidecar`

mod bootstrap;
mod iptables;
mod node;
mod ports;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use weir_config::Config;

use self::bootstrap::Mesh;
pub(super) use self::bootstrap::MeshError;
use self::iptables::Iptables;
pub(super) use self::iptables::StepError;
use super::run::Start;
use super::{Error, print, source};
use crate::discovery::Discovered;
use crate::generation::Generation;

/// What messages call the bootstrap that is made here.
const NAME: &str = "the sidecar's bootstrap";

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Sidecar {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    mesh: Mesh,
    #[command(flatten)]
    start: Start,
}

#[derive(Subcommand)]
enum Command {
    /// Print the bootstrap that `weir sidecar` would begin with.
    Bootstrap(Mesh),
    /// Print, apply or remove the rules by which the system sends connections here.
    ///
    /// UDP is not captured, and so nor are questions to name servers.
    Iptables(Iptables),
}

impl Sidecar {
    pub(super) fn execute(self) -> Result<(), Error> {
        match self.command {
            Some(Command::Bootstrap(mesh)) => {
                let bootstrap = mesh.bootstrap(std::env::vars_os())?;
                return print(format_args!("{bootstrap:#}\n"));
            }
            Some(Command::Iptables(iptables)) => return iptables.execute(),
            None => {}
        }
        let bootstrap = format!("{:#}", self.mesh.bootstrap(std::env::vars_os())?);
        self.start.serve(move |discovered, previous, looked_at| {
            load(&bootstrap, discovered, previous, looked_at)
        })
    }
}

fn load(
    bootstrap: &str,
    discovered: &Discovered,
    previous: Option<&Generation>,
    looked_at: &mut Vec<PathBuf>,
) -> Result<(Config, Generation), Error> {
    let config = source::parse_envoy(NAME, bootstrap, true, discovered)?;
    source::try_out(config, Path::new("."), discovered, previous, looked_at)
}
