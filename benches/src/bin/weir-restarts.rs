//! `weir-restarts`: what the compile cache saves a start.
//!
//! Twenty modules are made ready without a cache and with one that has them, once by
//! the host alone and once by `weir check`, which does all that a start does but for
//! the sockets. The ways take turns; the ratios are those of one round.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;
use tempfile::TempDir;
use weir_abi::{Deadline, Module, ModuleCache, Outcome};

/// Measures what the compile cache saves a start.
#[derive(Parser)]
struct Arguments {
    /// A module that needs no configuration.
    #[arg(long)]
    module: PathBuf,
    /// The proxy.
    #[arg(long)]
    weir: PathBuf,
    /// Rounds, in each of which every way has its turn.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
}

const MODULES: u8 = 20;

const CACHE_BYTES: u64 = 1 << 30;

/// The module with a section behind it that makes it another one.
fn variant(wasm: &[u8], number: u8) -> Vec<u8> {
    const CUSTOM: [u8; 4] = [0, 3, 1, b'n'];
    [wasm, &CUSTOM, &[number]].concat()
}

struct Rig {
    folder: TempDir,
    modules: Vec<Vec<u8>>,
    cache: PathBuf,
    weir: PathBuf,
}

impl Rig {
    fn new(arguments: &Arguments) -> Result<Self, String> {
        let path = &arguments.module;
        let wasm = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let folder = TempDir::new().map_err(|e| e.to_string())?;
        let weir = fs::canonicalize(&arguments.weir).map_err(|e| e.to_string())?;
        let rig = Self {
            cache: folder.path().join("cache"),
            modules: (0..MODULES).map(|n| variant(&wasm, n)).collect(),
            folder,
            weir,
        };
        let mut filters = String::new();
        for (number, module) in rig.modules.iter().enumerate() {
            let name = format!("{number}.wasm");
            fs::write(rig.folder.path().join(&name), module).map_err(|e| e.to_string())?;
            let _ = writeln!(
                filters,
                "  - {{ name: f{number}, wasm: {{ vm_config: {{ code: {{ local: {{ filename: \
                 {name} }} }} }} }} }}"
            );
        }
        let config =
            format!("listeners:\n- name: edge\n  address: 127.0.0.1:0\n  http_filters:\n{filters}");
        let with = format!(
            "compile_cache: {{ path: {} }}\n{config}",
            rig.cache.display()
        );
        for (name, text) in [("cold.yaml", config), ("cached.yaml", with)] {
            fs::write(rig.folder.path().join(name), text).map_err(|e| e.to_string())?;
        }
        Ok(rig)
    }

    /// Makes all modules ready; gives the seconds.
    fn host(&self, cache: Option<&Path>) -> Result<f64, String> {
        let began = Instant::now();
        let cache = cache.map(|path| ModuleCache::open(path, CACHE_BYTES));
        let cache = cache.transpose().map_err(|e| e.to_string())?;
        let mut ready = Vec::new();
        for wasm in &self.modules {
            let deadline = Deadline::default();
            ready.push(match &cache {
                None => Module::compile_for(wasm, deadline).map_err(|e| e.to_string())?,
                Some(cache) => {
                    let found = cache.compile_for(wasm, deadline);
                    let (module, lookup) = found.map_err(|e| e.to_string())?;
                    if lookup.outcome != Outcome::Hit {
                        return Err(format!("{lookup:?}"));
                    }
                    module
                }
            });
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// Runs `weir check`; gives the seconds.
    fn proxy(&self, config: &str) -> Result<f64, String> {
        let began = Instant::now();
        let output = Command::new(&self.weir)
            .args(["check", config])
            .current_dir(self.folder.path())
            .env("WEIR_LOG", "warn")
            .output()
            .map_err(|e| e.to_string())?;
        let took = began.elapsed().as_secs_f64();
        let log = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() || !log.trim().is_empty() {
            return Err(format!("{config}: {}: {log}", output.status));
        }
        Ok(took)
    }
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}

fn show(what: &str, rounds: &[(f64, f64)]) {
    let all = |of: fn(&(f64, f64)) -> f64| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
    println!(
        "{what:<12} cold {:>8.1} ms, cached {:>7.1} ms, ratio {:.4}",
        all(|r| r.0) * 1e3,
        all(|r| r.1) * 1e3,
        all(|r| r.1 / r.0),
    );
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let rig = Rig::new(arguments)?;
    // Fills the cache.
    rig.proxy("cached.yaml")?;
    let (mut host, mut proxy) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        host.push((rig.host(None)?, rig.host(Some(&rig.cache))?));
        proxy.push((rig.proxy("cold.yaml")?, rig.proxy("cached.yaml")?));
    }
    println!("{MODULES} modules, medians of {} rounds", arguments.rounds);
    show("host alone", &host);
    show("weir check", &proxy);
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}
