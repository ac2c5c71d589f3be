//! Where a command's configuration comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use weir_config::Config;
use weir_config::envoy::{self, Leniency};

use super::Error;
use crate::discovery::Discovered;
use crate::generation::Generation;

/// A file, in Weir's own form or in Envoy's.
#[derive(Args)]
pub(super) struct Source {
    /// The configuration, a YAML file.
    #[arg(required_unless_present = "envoy", conflicts_with = "envoy")]
    file: Option<PathBuf>,
    /// In its place, a static bootstrap of Envoy's, in YAML or JSON.
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// Pass over what Weir does not do, with a warning, instead of refusing it.
    #[arg(long, requires = "envoy", conflicts_with = "file")]
    lenient: bool,
}

impl Source {
    /// A file in Weir's own form.
    pub(super) fn of_file(file: PathBuf) -> Self {
        Self {
            file: Some(file),
            envoy: None,
            lenient: false,
        }
    }

    /// The file's name.
    pub(super) fn path(&self) -> &Path {
        let path = self.file.as_deref().or(self.envoy.as_deref());
        path.unwrap_or(Path::new(""))
    }

    /// Reads and parses the configuration; gives the folder too that files in it are
    /// relative to.
    pub(super) fn parse(&self, discovered: &Discovered) -> Result<(Config, &Path), Error> {
        let path = self.path();
        if self.envoy.is_some() {
            // Envoy's file names are relative to the working directory.
            let name = path.display().to_string();
            let config = parse_envoy(&name, &read(path)?, self.lenient, discovered)?;
            return Ok((config, Path::new(".")));
        }
        let config = weir_config::parse(&path.display().to_string(), &read(path)?)?;
        Ok((config, path.parent().unwrap_or(Path::new("."))))
    }

    /// Reads, parses and tries out the configuration. What is the same in `previous`
    /// is taken from there, and what is `discovered` is added. `looked_at` gets the files that it names, as far as it can
    /// be read.
    pub(super) fn load(
        &self,
        discovered: &Discovered,
        previous: Option<&Generation>,
        looked_at: &mut Vec<PathBuf>,
    ) -> Result<(Config, Generation), Error> {
        let (config, folder) = self.parse(discovered)?;
        let loaded = try_out(config, folder, discovered, previous, looked_at)?;
        let (config, mut generation) = loaded;
        generation.files.push(self.path().to_owned());
        Ok((config, generation))
    }
}

/// Tries out a configuration that names files relative to `folder`; the rest is as in
/// [`Source::load`].
pub(super) fn try_out(
    mut config: Config,
    folder: &Path,
    discovered: &Discovered,
    previous: Option<&Generation>,
    looked_at: &mut Vec<PathBuf>,
) -> Result<(Config, Generation), Error> {
    if config.dynamic_resources.is_some() {
        config = discovered.added_to(&config)?;
    }
    let shared = previous.map_or_else(Arc::default, |p| Arc::clone(&p.shared));
    let generation = Generation::build(&config, folder, &shared, previous, looked_at)?;
    Ok((config, generation))
}

/// Reads Envoy's bootstrap in `path`; warnings go to standard error and into
/// the log.
pub(super) fn read_envoy(path: &Path, lenient: bool) -> Result<Config, Error> {
    parse_envoy(
        &path.display().to_string(),
        &read(path)?,
        lenient,
        &Discovered::default(),
    )
}

/// Reads Envoy's bootstrap in `text`, which is called `name`. Where a management server
/// has it read again and again, as `discovered` knows, warnings are told once.
pub(super) fn parse_envoy(
    name: &str,
    text: &str,
    lenient: bool,
    discovered: &Discovered,
) -> Result<Config, Error> {
    let leniency = if lenient {
        Leniency::Lenient
    } else {
        Leniency::Strict
    };
    let (config, warnings) = envoy::parse(name, text, leniency);
    let is_known =
        |config: &Config| config.dynamic_resources.is_some() && !discovered.is_news(text);
    if config.as_ref().is_ok_and(is_known) {
        return Ok(config?);
    }
    for warning in &warnings {
        tracing::warn!("{}", warning.line());
        eprintln!("{warning}");
    }
    if warnings.omitted() > 0 {
        let omitted = warnings.omitted();
        tracing::warn!(omitted, "more of the bootstrap is passed over");
        eprintln!("warning: {omitted} more of this kind are not listed");
    }
    Ok(config?)
}

pub(super) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
