//! `weir filter bench`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;
use serde_json::{Value as Json, json};

use super::inspect::Format;
use crate::bench::{self, Compiled, Effort, Load, Subject, Traffic};
use crate::suite::Suite;

/// Bytes of each body unless the command says otherwise.
const BODY: usize = 1024;

/// How every module begins.
const MAGIC: &[u8] = b"\0asm";

#[derive(Debug, Args)]
#[allow(missing_docs)] // The command's own words would be lost.
pub struct Bench {
    /// The module, which gets requests like those of a browser; or a suite, whose
    /// `benches` say what it gets.
    file: PathBuf,
    /// The module, in place of what the suite names.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Measure only benches whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
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
    /// Bytes of each body; 1024 by default.
    #[arg(long, value_name = "BYTES")]
    body: Option<usize>,
    /// Measure little: it shows that everything runs, not what it costs.
    #[arg(long)]
    quick: bool,
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
        let file = super::read(&self.file)?;
        match file.starts_with(MAGIC) {
            true => self.measure_module(&file)?,
            false => self.measure_suite(&file)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn effort(&self) -> Effort {
        match self.quick {
            true => Effort::QUICK,
            false => Effort::FULL,
        }
    }

    fn compile(&self, path: &Path) -> Result<Compiled, String> {
        Compiled::new(path, &super::read(path)?, self.effort())
    }

    fn measure_module(&self, wasm: &[u8]) -> Result<(), String> {
        for (given, option) in [
            (self.plugin.is_some(), "--plugin"),
            (self.only.is_some(), "--only"),
        ] {
            if given {
                return Err(format!("`{option}` is for suites, and this is a module"));
            }
        }
        let traffic = Traffic {
            headers: self.header.clone(),
            body: self.body.unwrap_or(BODY),
        };
        let load = |file: &Path, config: Option<&PathBuf>| {
            let configuration = config.map(|config| super::read(config)).transpose()?;
            let name = file.file_stem();
            let name = name.map_or("filter".into(), |stem| stem.to_string_lossy());
            let configuration = configuration.unwrap_or_default();
            Ok::<_, String>(Load::traffic(&name, configuration, &traffic))
        };
        let config = self.config.as_ref();
        let compiled = Compiled::new(&self.file, wasm, self.effort())?;
        let baseline = self.baseline.as_deref().map(|file| self.compile(file));
        let baseline = baseline.transpose()?;
        let mut subjects = vec![Subject::new(&compiled, load(&self.file, config)?)];
        if let (Some(file), Some(compiled)) = (&self.baseline, &baseline) {
            let config = self.baseline_config.as_ref().or(config);
            subjects.push(Subject::new(compiled, load(file, config)?));
        }
        bench::run(&mut subjects, self.effort())?;
        let (measured, baseline) = (&subjects[0], subjects.get(1));
        match self.format {
            Format::Text => print!("{}", bench::table(measured, baseline)),
            Format::Json => println!("{:#}", bench::json(measured, baseline)),
        }
        Ok(())
    }

    fn measure_suite(&self, text: &[u8]) -> Result<(), String> {
        let path = &self.file;
        for (given, option) in [
            (!self.header.is_empty(), "--header"),
            (self.body.is_some(), "--body"),
        ] {
            if given {
                let message = "is for modules: the benches of a suite say what the filter gets";
                return Err(format!("`{option}` {message}"));
            }
        }
        let neither = || {
            let path = path.display();
            format!("{path}: this is neither a module nor the text of a suite")
        };
        let text = std::str::from_utf8(text).map_err(|_| neither())?;
        let suite = self.suite(text, self.config.as_deref())?;
        let plugin = match (&self.plugin, &suite.plugin) {
            (Some(plugin), _) => plugin,
            (None, Some((plugin, _))) => plugin,
            (None, None) => return Err("the suite names no `plugin`; give `--plugin`".to_owned()),
        };
        let compiled = self.compile(plugin)?;
        let baseline = self.baseline.as_deref().map(|file| self.compile(file));
        let baseline = baseline.transpose()?;
        let other = match &self.baseline_config {
            Some(config) => self.suite(text, Some(config))?,
            None => Rc::clone(&suite),
        };
        let chosen = |name: &str| self.only.as_ref().is_none_or(|part| name.contains(part));
        let mut list = Vec::new();
        let mut count = 0;
        for (place, bench) in suite.benches.iter().enumerate() {
            if bench.ignored || !chosen(&bench.name) {
                continue;
            }
            count += 1;
            let load = Load::Bench(Rc::clone(&suite), place);
            let mut subjects = vec![Subject::new(&compiled, load)];
            if let Some(baseline) = &baseline {
                let load = Load::Bench(Rc::clone(&other), place);
                subjects.push(Subject::new(baseline, load));
            }
            let measured = bench::run(&mut subjects, self.effort());
            measured.map_err(|error| format!("bench {}: {error}", bench.name))?;
            let (measured, baseline) = (&subjects[0], subjects.get(1));
            match self.format {
                Format::Text => {
                    println!("bench {}", bench.name);
                    println!("{}", bench::table(measured, baseline));
                }
                Format::Json => {
                    let mut prices = bench::json(measured, baseline);
                    prices["bench"] = bench.name.clone().into();
                    list.push(prices);
                }
            }
        }
        if let (0, Some(part)) = (count, &self.only) {
            return Err(format!("no bench has `{part}` in its name"));
        }
        if let Format::Json = self.format {
            println!("{:#}", json!({ "benches": Json::Array(list) }));
        }
        Ok(())
    }

    /// The suite, whose benches have the configuration of a file if there is one.
    fn suite(&self, text: &str, config: Option<&Path>) -> Result<Rc<Suite>, String> {
        let config = config.map(super::read).transpose()?;
        let suite = Suite::read(&self.file, text, config.as_deref());
        let suite = suite.map_err(|errors| errors.plain().trim_end().to_owned())?;
        match suite.benches.is_empty() {
            true => {
                let error = suite.error(weir_config::Span::default(), "the suite has no `benches`");
                Err(error.to_string())
            }
            false => Ok(Rc::new(suite)),
        }
    }
}
