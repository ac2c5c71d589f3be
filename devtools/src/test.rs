//! Declarative tests of a filter.

use std::path::{Path, PathBuf};
use std::time::Instant;

use weir_abi::{LogLevel, Module};
use weir_config::{ConfigError, ConfigErrors, Span};

use crate::plugin_tester::{self, Overrides};
use crate::report::{Report, TestResult};
use crate::suite;
use crate::watch::Watched;

/// How a suite is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In Weir's own form.
    Own,
    /// As the Service Extensions plugin tester has it, in protobuf's text form.
    TextProto,
    /// As that has it in YAML.
    TesterYaml,
}

/// What of a suite is run, and how.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// Only tests whose name contains this.
    pub(crate) only: Option<String>,
    /// Whether tests are run.
    pub(crate) tests: bool,
    /// Whether benchmarks are run that a suite asks for.
    pub(crate) benches: bool,
    /// Whether every call between filter and host is written down.
    pub(crate) trace: bool,
}

impl Choice {
    pub(crate) fn picks(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|part| name.contains(part))
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Path of the suite.
    pub(crate) suite: PathBuf,
    /// How it is written.
    pub(crate) form: Form,
    /// The module, in place of what the suite names.
    pub(crate) plugin: Option<PathBuf>,
    /// A file with the filter's configuration, in place of what the suite says.
    pub(crate) configuration: Option<PathBuf>,
    /// A file that the filter's log is appended to (for the plugin tester's forms).
    pub(crate) log: Option<PathBuf>,
    /// The lowest level that is logged (for the plugin tester's forms).
    pub(crate) log_level: Option<LogLevel>,
    /// What of it.
    pub(crate) choice: Choice,
}

/// Why no test could be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    /// A suite that is not valid.
    #[error("{}", .0.plain().trim_end())]
    Suite(ConfigErrors),
    /// A file that cannot be read.
    #[error("error: cannot read {}: {source}", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A module that cannot be loaded.
    #[error("error: {}: {source}", path.display())]
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

/// Runs the tests of a suite; `each` is told of a test when it has ended. `files` gets
/// the files that decide what comes out, as far as they are known by then.
///
/// # Errors
/// [`TestError`] when it cannot be run at all.
pub(crate) fn run(
    options: &Options,
    files: &mut Watched,
    each: impl FnMut(&TestResult),
) -> Result<Report, TestError> {
    files.add(&options.suite);
    let text = read(&options.suite)?;
    let text = String::from_utf8(text).map_err(|error| TestError::Read {
        path: options.suite.clone(),
        source: std::io::Error::other(error),
    })?;
    let began = Instant::now();
    let tests = match options.form {
        Form::Own => run_own(options, &text, files, each)?,
        Form::TextProto => run_tester(options, &text, plugin_tester::Form::Text, files, each)?,
        Form::TesterYaml => run_tester(options, &text, plugin_tester::Form::Yaml, files, each)?,
    };
    Ok(Report {
        tests,
        took: began.elapsed(),
    })
}

fn run_own(
    options: &Options,
    text: &str,
    files: &mut Watched,
    each: impl FnMut(&TestResult),
) -> Result<Vec<TestResult>, TestError> {
    let configuration = options.configuration.as_deref().map(|path| {
        files.add(path);
        read(path)
    });
    let configuration = configuration.transpose()?;
    let suite = suite::Suite::read(&options.suite, text, configuration.as_deref())?;
    let plugin = match &options.plugin {
        Some(plugin) => Some((plugin.clone(), Span::default())),
        None => suite.plugin.clone(),
    };
    let named = plugin.ok_or_else(|| {
        let error = suite.error(Span::default(), "the suite names no `plugin`");
        error.with_help("for example `plugin: filter.wasm`, beside the suite, or `--plugin FILE`")
    })?;
    files.add(&named.0);
    let module = load(&named.0, named.1, |span, message| {
        suite.error(span, message)
    })?;
    Ok(suite::run(&suite, &module, &options.choice, each))
}

fn run_tester(
    options: &Options,
    text: &str,
    form: plugin_tester::Form,
    files: &mut Watched,
    each: impl FnMut(&TestResult),
) -> Result<Vec<TestResult>, TestError> {
    let overrides = Overrides {
        plugin: options.plugin.clone(),
        configuration: options.configuration.clone(),
        log: options.log.clone(),
        log_level: options.log_level,
    };
    let suite = plugin_tester::Suite::read(&options.suite, text, form, &overrides)?;
    let (plugin, at) = suite.plugin.clone().ok_or_else(|| {
        let error = suite.error(Span::default(), "the suite names no plugin");
        error.with_help("give its path by `--plugin FILE`, or as `wasm_path` of `env`")
    })?;
    files.add(&plugin);
    let error = |span, message| suite.error(span, message);
    let module = load(&plugin, at, error)?;
    let configuration = match &suite.configuration {
        None => Vec::new(),
        Some((path, span)) => {
            files.add(path);
            std::fs::read(path)
                .map_err(|e| error(*span, format!("cannot read {}: {e}", path.display())))?
        }
    };
    let choice = &options.choice;
    Ok(plugin_tester::run(
        &suite,
        &module,
        &configuration,
        choice,
        each,
    ))
}

/// Loads a module that a place of a suite names, or the command line.
fn load(
    path: &Path,
    at: Span,
    error: impl Fn(Span, String) -> ConfigError,
) -> Result<Module, TestError> {
    let by_suite = at != Span::default();
    let loaded = read(path).and_then(|wasm| {
        Module::compile(&wasm).map_err(|source| TestError::Load {
            path: path.to_owned(),
            source: Box::new(source),
        })
    });
    loaded.map_err(|failed| match by_suite {
        true => {
            let message = failed.to_string();
            let message = message.strip_prefix("error: ").unwrap_or(&message);
            error(at, message.to_owned()).into()
        }
        false => failed,
    })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TestError> {
    std::fs::read(path).map_err(|source| TestError::Read {
        path: path.to_owned(),
        source,
    })
}
