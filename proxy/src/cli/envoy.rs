//! `weir envoy`: the arguments of Envoy, as Istio's agent passes them (istio,
//! `pkg/envoy/proxy.go`).

mod merge;
mod passed_over;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tracing::level_filters::LevelFilter;
use weir_config::Config;

pub(super) use self::merge::BootstrapError;
use self::passed_over::PassedOver;
use super::run::Start;
use super::{Error, source};
use crate::discovery::Discovered;
use crate::generation::Generation;
use crate::logging;

/// What programs are called that are started with arguments of Envoy.
const NAME: &str = "envoy";

/// Stand where Envoy is started.
///
/// Takes Envoy's arguments, and reads Envoy's bootstrap.
#[derive(Parser)]
#[command(name = NAME, bin_name = "weir envoy", version)]
pub(super) struct Envoy {
    /// The bootstrap, in YAML or JSON.
    #[arg(
        long,
        short = 'c',
        value_name = "FILE",
        required_unless_present = "config_yaml"
    )]
    config_path: Option<PathBuf>,
    /// More of the bootstrap, in JSON, which goes over what the file says.
    #[arg(long, value_name = "TEXT")]
    config_yaml: Option<String>,
    /// Pass over what Weir does not do, with a warning, instead of refusing it.
    #[arg(long, alias = "allow-unknown-fields")]
    allow_unknown_static_fields: bool,
    /// Serve, or say whether the bootstrap is valid.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// How long connections may take to end, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    drain_time_s: u32,
    /// Workers. Default: one for each processor.
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// What is logged, unless `WEIR_LOG` says otherwise: trace, debug, info, warning,
    /// error, critical or off.
    #[arg(long, short = 'l', value_name = "LEVEL", default_value = "info", value_parser = logging::level)]
    log_level: LevelFilter,
    /// Write the admin's address to this file once everything is ready.
    #[arg(long, value_name = "FILE")]
    admin_address_path: Option<PathBuf>,
    /// The node's cluster, whatever the bootstrap says.
    #[arg(long, value_name = "NAME")]
    service_cluster: Option<String>,
    /// The node's id, whatever the bootstrap says.
    #[arg(long, value_name = "ID")]
    service_node: Option<String>,
    /// The node's zone, whatever the bootstrap says.
    #[arg(long, value_name = "ZONE")]
    service_zone: Option<String>,
    #[command(flatten)]
    passed_over: PassedOver,
}

/// `--mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Mode {
    #[default]
    Serve,
    Validate,
}

/// The arguments for [`Envoy`], if they are for it: of a program that is called `envoy`,
/// or behind that word.
pub(super) fn arguments(all: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut all = all.into_iter();
    let program = all.next()?;
    if Path::new(&program)
        .file_name()
        .is_some_and(|name| name == NAME)
    {
        return Some(all.collect());
    }
    (all.next()? == NAME).then(|| all.collect())
}

impl Envoy {
    /// Reads arguments; ends the process where they are wrong.
    pub(super) fn read(arguments: &[OsString]) -> Self {
        let name = OsString::from(NAME);
        Self::parse_from(std::iter::once(&name).chain(arguments))
    }

    /// What is logged, as [`super::log::init`] takes it.
    pub(super) fn levels(&self) -> String {
        let level = self.log_level;
        // Of its libraries no more than what goes wrong.
        if level > LevelFilter::WARN {
            format!("{level},pingora_core=warn,pingora_runtime=warn")
        } else {
            level.to_string()
        }
    }

    pub(super) fn execute(mut self) -> Result<(), Error> {
        for name in self.passed_over.given() {
            tracing::info!("--{name} has no effect");
        }
        if self.mode == Mode::Validate {
            self.load(&Discovered::default(), None, &mut Vec::new())?;
            println!("{}: ok", self.name());
            return Ok(());
        }
        let start = Start {
            admin_address_path: self.admin_address_path.take(),
            takeover_path: None,
            concurrency: self
                .concurrency
                .and_then(|n| usize::try_from(n).ok()?.try_into().ok()),
        };
        start.serve(move |discovered, previous, looked_at| {
            self.load(discovered, previous, looked_at)
        })
    }

    /// What messages call the bootstrap.
    fn name(&self) -> String {
        match (&self.config_path, &self.config_yaml) {
            (Some(path), None) => path.display().to_string(),
            (Some(path), Some(_)) => format!("{} with --config-yaml", path.display()),
            (None, _) => "--config-yaml".to_owned(),
        }
    }

    fn text(&self) -> Result<String, Error> {
        let file = self.config_path.as_deref().map(source::read).transpose()?;
        Ok(match (file, &self.config_yaml) {
            (Some(file), None) => file,
            (Some(file), Some(more)) => merge::merged(&file, more)?,
            (None, more) => more.clone().unwrap_or_default(),
        })
    }

    fn load(
        &self,
        discovered: &Discovered,
        previous: Option<&Generation>,
        looked_at: &mut Vec<PathBuf>,
    ) -> Result<(Config, Generation), Error> {
        let lenient = self.allow_unknown_static_fields;
        let mut config = source::parse_envoy(&self.name(), &self.text()?, lenient, discovered)?;
        config.drain_timeout = Duration::from_secs(self.drain_time_s.into());
        let node = &mut config.node;
        for (given, value) in [
            (&self.service_cluster, &mut node.cluster),
            (&self.service_node, &mut node.id),
            (&self.service_zone, &mut node.locality.zone),
        ] {
            if let Some(given) = given {
                value.clone_from(given);
            }
        }
        // Envoy's file names are relative to the working directory.
        let folder = Path::new(".");
        let loaded = source::try_out(config, folder, discovered, previous, looked_at)?;
        let (config, mut generation) = loaded;
        generation.files.extend(self.config_path.clone());
        Ok((config, generation))
    }
}
