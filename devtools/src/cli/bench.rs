//! `weir filter bench`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::inspect::Format;
use crate::bench::{self, Subject, Traffic};

#[derive(Debug, Args)]
#[allow(missing_docs)] // The command's own words would be lost.
pub struct Bench {
    /// The module.
    file: PathBuf,
    /// A file with the filter's configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Another module, to compare with: both are measured in turn.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// A file with the other's configuration, where it has one of its own.
    #[arg(long, value_name = "FILE", requires = "baseline")]
    baseline_config: Option<PathBuf>,
    /// A header of the requests, as NAME:VALUE.
    #[arg(long, value_name = "NAME:VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Bytes of each body.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    body: usize,
    /// How the prices are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn header(text: &str) -> Result<(String, String), String> {
    // A pseudo-header begins with a colon of its own.
    let behind = usize::from(text.starts_with(':'));
    let colon = text[behind..].find(':').map(|at| at + behind);
    let colon = colon.filter(|at| *at > behind);
    let at = colon.ok_or_else(|| "a header is NAME:VALUE".to_owned())?;
    Ok((
        text[..at].to_ascii_lowercase(),
        text[at + 1..].trim().to_owned(),
    ))
}

impl Bench {
    pub(super) fn execute(self) -> Result<ExitCode, String> {
        let traffic = Traffic {
            headers: self.header,
            body: self.body,
        };
        let subject = |file: &Path, config: Option<&PathBuf>| {
            let wasm = super::read(file)?;
            let configuration = config.map(|config| super::read(config)).transpose()?;
            Subject::new(file, &wasm, configuration.unwrap_or_default(), &traffic)
        };
        let config = self.config.as_ref();
        let mut subjects = vec![subject(&self.file, config)?];
        if let Some(baseline) = &self.baseline {
            subjects.push(subject(baseline, self.baseline_config.as_ref().or(config))?);
        }
        bench::run(&mut subjects)?;
        let (measured, baseline) = (&subjects[0], subjects.get(1));
        match self.format {
            Format::Text => print!("{}", bench::table(measured, baseline)),
            Format::Json => println!("{:#}", bench::json(measured, baseline)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
