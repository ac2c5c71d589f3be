//! Declarative tests of a filter.

use std::path::{Path, PathBuf};
use std::time::Instant;

use weir_abi::Module;
use weir_config::{ConfigError, ConfigErrors};

use crate::report::{Report, TestResult};
use crate::suite::{self, Suite};

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The module, in place of what the suite names.
    pub plugin: Option<PathBuf>,
    /// A file with the filter's configuration, in place of what the suite says.
    pub configuration: Option<PathBuf>,
    /// Only tests whose name contains this.
    pub filter: Option<String>,
}

/// Why no test could be run.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// A suite that is not valid.
    #[error("{}", .0.plain().trim_end())]
    Suite(ConfigErrors),
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A module that cannot be loaded.
    #[error("{}: {source}", path.display())]
    Load {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: Box<weir_abi::LoadError>,
    },
}

impl From<ConfigErrors> for TestError {
    fn from(errors: ConfigErrors) -> Self {
        Self::Suite(errors)
    }
}

impl From<ConfigError> for TestError {
    fn from(error: ConfigError) -> Self {
        Self::Suite(error.into())
    }
}

/// Runs the tests of a suite in Weir's own form; `each` is told of a test when it has
/// ended.
///
/// # Errors
/// [`TestError`] when it cannot be run at all.
pub fn run(
    path: &Path,
    options: &Options,
    each: impl FnMut(&TestResult),
) -> Result<Report, TestError> {
    let configuration = options.configuration.as_deref().map(read).transpose()?;
    let text = read_text(path)?;
    let suite = Suite::read(path, &text, configuration.as_deref())?;
    let module = match (&options.plugin, &suite.plugin) {
        (Some(plugin), _) => load(plugin)?,
        (None, Some((plugin, span))) => {
            let at = |message: String| suite.error(*span, message);
            load(plugin).map_err(|error| at(error.to_string()))?
        }
        (None, None) => {
            let error = suite.error(weir_config::Span::default(), "the suite names no `plugin`");
            let help = "for example `plugin: filter.wasm`, beside the suite, or `--plugin FILE`";
            return Err(error.with_help(help).into());
        }
    };
    let began = Instant::now();
    let tests = suite::run(&suite, &module, options.filter.as_deref(), each);
    Ok(Report {
        tests,
        took: began.elapsed(),
    })
}

pub(crate) fn load(path: &Path) -> Result<Module, TestError> {
    Module::compile(&read(path)?).map_err(|source| TestError::Load {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TestError> {
    std::fs::read(path).map_err(|source| TestError::Read {
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn read_text(path: &Path) -> Result<String, TestError> {
    std::fs::read_to_string(path).map_err(|source| TestError::Read {
        path: path.to_owned(),
        source,
    })
}
