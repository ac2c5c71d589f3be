//! `weir filter test`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_devtools::test::{self, Options};

#[derive(Args)]
pub(super) struct Test {
    /// The suite, in Weir's own form.
    suite: PathBuf,
    /// Run only tests whose name contains this.
    filter: Option<String>,
    /// The module, in place of what the suite names.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// A file with the filter's configuration, in place of what the suite says.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Test {
    pub(super) fn execute(self) -> ExitCode {
        let options = Options {
            plugin: self.plugin,
            configuration: self.config,
            filter: self.filter,
        };
        let each = |result: &weir_devtools::TestResult| println!("{}", result.line());
        match test::run(&self.suite, &options, each) {
            Ok(report) => {
                print!("{}", report.summary());
                ExitCode::from(u8::from(!report.passed()))
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
