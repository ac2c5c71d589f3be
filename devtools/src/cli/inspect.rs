//! `weir filter inspect`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::inspect;

#[derive(Debug, Args)]
#[allow(missing_docs)] // The command's own words would be lost.
pub struct Inspect {
    /// The module.
    file: PathBuf,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Inspect {
    pub(super) fn execute(&self) -> Result<ExitCode, String> {
        let wasm = super::read(&self.file)?;
        let report = inspect::inspect(&self.file, &wasm)
            .map_err(|error| format!("{}: {error}", self.file.display()))?;
        match self.format {
            Format::Text => print!("{}", inspect::text(&report)),
            Format::Json => println!("{:#}", report.json()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
