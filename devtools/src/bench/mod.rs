//! What a filter costs: a price list, or two side by side.

mod profile;
mod round;
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};
use weir_abi::{HeaderMap, LogLevel, Module};

use self::profile::Prices;
use self::round::Load;
pub(crate) use self::table::table;
use crate::driver::Setup;
use crate::measure::Samples;

/// Rounds that are measured, of each of two filters in turn.
const ROUNDS: usize = 10;

/// Compilations that are measured: they take long.
const COMPILATIONS: usize = 3;

/// What passes through the filter.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    /// Headers of the request besides those that every request has.
    pub(crate) headers: Vec<(String, String)>,
    /// Bytes of both bodies.
    pub(crate) body: usize,
}

/// A filter that is measured.
pub(crate) struct Subject {
    pub(crate) file: String,
    module: Module,
    setup: Setup,
    load: Load,
    compile: Samples,
    prices: Prices,
}

impl Subject {
    /// Compiles `wasm`.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub(crate) fn new(
        path: &Path,
        wasm: &[u8],
        configuration: Vec<u8>,
        traffic: &Traffic,
    ) -> Result<Self, String> {
        let mut compile = Samples::default();
        let mut compiled = None;
        for _ in 0..COMPILATIONS {
            let began = Instant::now();
            let module = Module::compile(wasm);
            compile.push(began.elapsed());
            compiled = Some(module.map_err(|error| format!("{}: {error}", path.display()))?);
        }
        let Some(module) = compiled else {
            return Err(format!("{}: nothing was compiled", path.display()));
        };
        let name = path
            .file_stem()
            .map_or("filter".into(), |stem| stem.to_string_lossy());
        Ok(Self {
            file: path.display().to_string(),
            module,
            setup: Setup {
                log_level: LogLevel::Critical,
                now: now(),
                ..Setup::new(&name, configuration)
            },
            load: Load::new(traffic),
            compile,
            prices: Prices::default(),
        })
    }

    fn round(&mut self) -> Result<(), String> {
        let measured = self.load.round(&self.module, &self.setup, &mut self.prices);
        measured.map_err(|error| format!("{}: {error}", self.file))
    }

    /// Everything that was measured: what, in which unit, how much, and how often on a
    /// stream where that means something.
    pub(crate) fn prices(&self) -> Vec<Price> {
        let time = |what: String, samples: &Samples, per_stream: Option<f64>| {
            let sampled = samples.sampled()?;
            Some(Price {
                what,
                unit: Unit::Nanoseconds,
                amount: sampled.median,
                per_stream,
            })
        };
        let prices = &self.prices;
        let mut list: Vec<Price> = [
            ("compile", &self.compile),
            ("instantiate", &prices.instantiate),
            ("start and configure", &prices.configure),
            ("stream", &prices.stream),
        ]
        .into_iter()
        .filter_map(|(what, samples)| time(what.to_owned(), samples, None))
        .collect();
        let streams = prices.streams.max(1) as f64;
        let often = |count: u64| Some(count as f64 / streams);
        list.extend(prices.callbacks.iter().filter_map(|(name, used)| {
            time(
                format!("callback {name}"),
                &used.samples,
                often(used.in_streams),
            )
        }));
        list.extend(prices.hostcalls.iter().filter_map(|(name, used)| {
            time(
                format!("hostcall {name}"),
                &used.samples,
                often(used.in_streams),
            )
        }));
        let amount = |what: &str, unit: Unit, amount: u64, per_stream: Option<f64>| Price {
            what: what.to_owned(),
            unit,
            amount,
            per_stream,
        };
        list.extend([
            amount("memory of a VM", Unit::Bytes, prices.memory_of_vm, None),
            amount(
                "memory of a stream",
                Unit::Bytes,
                prices.memory_of_stream,
                None,
            ),
            amount(
                "allocations",
                Unit::Calls,
                prices.allocations,
                often(prices.allocations),
            ),
            amount(
                "allocated",
                Unit::Bytes,
                prices.allocated,
                often(prices.allocated),
            ),
        ]);
        list
    }

    /// The price list for programs.
    fn json(&self) -> Json {
        let prices = self.prices().into_iter().map(|price| {
            let mut entry = Map::new();
            entry.insert("what".to_owned(), price.what.into());
            entry.insert("unit".to_owned(), price.unit.name().into());
            entry.insert("amount".to_owned(), price.amount.into());
            if let Some(often) = price.per_stream {
                entry.insert("per_stream".to_owned(), often.into());
            }
            Json::Object(entry)
        });
        json!({ "file": self.file, "prices": prices.collect::<Vec<_>>() })
    }
}

/// One price.
#[derive(Debug, Clone)]
pub(crate) struct Price {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) amount: u64,
    /// How often, or how much, on one stream.
    pub(crate) per_stream: Option<f64>,
}

/// Of what an amount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
    Calls,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Bytes => "bytes",
            Self::Calls => "calls",
        }
    }
}

/// Measures the filters in rounds, each in turn: what else the machine does meanwhile
/// meets all of them.
///
/// # Errors
/// Why a filter does not run.
pub(crate) fn run(subjects: &mut [Subject]) -> Result<(), String> {
    for _ in 0..ROUNDS {
        for subject in &mut *subjects {
            subject.round()?;
        }
    }
    Ok(())
}

/// The price lists for programs.
pub(crate) fn json(subject: &Subject, baseline: Option<&Subject>) -> Json {
    let mut json = subject.json();
    if let Some(baseline) = baseline {
        json["baseline"] = baseline.json();
    }
    json
}

fn now() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Headers of a request as a browser sends it, and these.
fn request_headers(traffic: &Traffic) -> HeaderMap {
    let usual = [
        (":authority", "example.com"),
        (":path", "/products/42?color=blue"),
        (":method", "POST"),
        (":scheme", "https"),
        ("accept", "text/html,application/json;q=0.9,*/*;q=0.8"),
        ("accept-encoding", "gzip, br"),
        ("content-type", "application/json"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) weir-filter-bench",
        ),
        ("x-request-id", "6f0d1b2e-6f0b-4d0e-9c55-2f1f7a8b9c0d"),
    ];
    let mut map: HeaderMap = usual.into_iter().collect();
    map.add("content-length", traffic.body.to_string());
    for (name, value) in &traffic.headers {
        map.replace(name.clone(), value.clone());
    }
    map
}

/// Headers of the response.
fn response_headers(traffic: &Traffic) -> HeaderMap {
    let usual = [
        (":status", "200"),
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("server", "upstream"),
    ];
    let mut map: HeaderMap = usual.into_iter().collect();
    map.add("content-length", traffic.body.to_string());
    map
}
