//! `weir filter test`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use weir_abi::LogLevel;

use crate::junit;
use crate::report::{Report, TestResult, Verdict};
use crate::test::{self, Choice, Form, Options};
use crate::watch::Watched;

#[derive(Debug, Args)]
#[allow(missing_docs)] // The command's own words would be lost.
pub struct Test {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The suite, in Weir's own form.
    suite: Option<PathBuf>,
    /// A suite as the Service Extensions plugin tester has it, in protobuf's text form.
    #[arg(long, value_name = "FILE")]
    proto: Option<PathBuf>,
    /// The same in YAML.
    #[arg(long, value_name = "FILE")]
    yaml: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct How {
    /// The module, in place of what the suite names.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// A file with the filter's configuration, in place of what the suite says.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run only tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Show every hostcall and callback of the tests that are run.
    #[arg(long)]
    trace: bool,
    /// Write a report for CI systems as well.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run the tests again whenever suite, module or configuration change.
    #[arg(long)]
    watch: bool,
    /// Append what the filter logs to a file; `-` is standard output. With --proto and
    /// --yaml.
    #[arg(long, value_name = "FILE", conflicts_with = "suite")]
    logfile: Option<PathBuf>,
    /// The lowest level that is logged, in place of what the suite says. With --proto
    /// and --yaml.
    #[arg(
        long,
        value_name = "LEVEL",
        ignore_case = true,
        conflicts_with = "suite"
    )]
    loglevel: Option<Level>,
    /// Whether the tests are run.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    test: bool,
    /// Whether the benchmarks are run that tests of --proto and --yaml ask for.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    bench: bool,
}

/// A level as the plugin tester names it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Undefined,
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl Level {
    fn log_level(self) -> Option<LogLevel> {
        Some(match self {
            Self::Undefined => return None,
            Self::Trace => LogLevel::Trace,
            Self::Debug => LogLevel::Debug,
            Self::Info => LogLevel::Info,
            Self::Warn => LogLevel::Warn,
            Self::Error => LogLevel::Error,
            Self::Critical => LogLevel::Critical,
        })
    }
}

impl Test {
    pub(super) fn execute(self) -> ExitCode {
        let Self { which, how } = self;
        let forms = [
            (which.suite, Form::Own),
            (which.proto, Form::TextProto),
            (which.yaml, Form::TesterYaml),
        ];
        let given = forms
            .into_iter()
            .find_map(|(path, form)| Some((path?, form)));
        let Some((suite, form)) = given else {
            return ExitCode::FAILURE;
        };
        let options = Options {
            suite,
            form,
            plugin: how.plugin,
            configuration: how.config,
            log: how.logfile,
            log_level: how.loglevel.and_then(Level::log_level),
            choice: Choice {
                only: how.only,
                tests: how.test,
                benches: how.bench,
                trace: how.trace,
            },
        };
        loop {
            let (watched, code) = run(&options, how.junit.as_deref());
            if !how.watch {
                return code;
            }
            println!("\nwaiting for a change");
            watched.wait();
            println!();
        }
    }
}

/// Runs the tests once, and tells what to wait for.
fn run(options: &Options, junit: Option<&Path>) -> (Watched, ExitCode) {
    let mut watched = Watched::default();
    let trace = options.choice.trace;
    let each = |result: &TestResult| {
        println!("{}", result.line());
        // Of one that has failed it stands below.
        if trace && result.verdict == Verdict::Passed {
            print!("{}", result.output);
        }
    };
    let result = test::run(options, &mut watched, each);
    let code = match result {
        Ok(report) => {
            print!("{}", report.summary());
            let written = junit.map_or(Ok(()), |path| write_junit(path, options, &report));
            match written {
                Ok(()) => ExitCode::from(u8::from(!report.passed())),
                Err(error) => {
                    eprintln!("error: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    };
    (watched, code)
}

fn write_junit(path: &Path, options: &Options, report: &Report) -> Result<(), String> {
    let xml = junit::xml(&options.suite.display().to_string(), report);
    std::fs::write(path, xml).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
