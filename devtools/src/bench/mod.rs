//! What a filter costs: a price list, or two side by side.

mod load;
mod profile;
mod round;
mod table;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value as Json, json};
use weir_abi::Module;

pub(crate) use self::load::Load;
use self::profile::Prices;
pub(crate) use self::table::table;
use crate::measure::Samples;

/// What passes through the filter.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    /// Headers of the request besides those that every request has.
    pub(crate) headers: Vec<(String, String)>,
    /// Bytes of both bodies.
    pub(crate) body: usize,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Compilations: they take long.
    compilations: usize,
    /// Rounds, of each of two filters in turn.
    rounds: usize,
    /// VMs that are started in a round.
    starts: usize,
    /// Passes of a round, for each thing that is measured.
    passes: usize,
    /// Streams that are open at once to find what one takes of memory.
    open_streams: u64,
}

impl Effort {
    /// For prices that mean something.
    pub(crate) const FULL: Self = Self {
        compilations: 3,
        rounds: 10,
        starts: 5,
        passes: 200,
        open_streams: 256,
    };

    /// To see that all of it runs.
    pub(crate) const QUICK: Self = Self {
        compilations: 1,
        rounds: 1,
        starts: 1,
        passes: 3,
        open_streams: 3,
    };
}

/// A module, and what it took to compile it.
pub(crate) struct Compiled {
    path: PathBuf,
    module: Module,
    took: Samples,
}

impl Compiled {
    /// Compiles `wasm`, which `path` has.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub(crate) fn new(path: &Path, wasm: &[u8], effort: Effort) -> Result<Self, String> {
        let mut took = Samples::default();
        let mut compiled = None;
        for _ in 0..effort.compilations {
            let began = Instant::now();
            let module = Module::compile(wasm);
            took.push(began.elapsed());
            compiled = Some(module.map_err(|error| format!("{}: {error}", path.display()))?);
        }
        let Some(module) = compiled else {
            return Err(format!("{}: nothing was compiled", path.display()));
        };
        Ok(Self {
            path: path.to_owned(),
            module,
            took,
        })
    }
}

/// A filter that is measured.
pub(crate) struct Subject<'c> {
    compiled: &'c Compiled,
    load: Load,
    prices: Prices,
}

impl<'c> Subject<'c> {
    pub(crate) fn new(compiled: &'c Compiled, load: Load) -> Self {
        Self {
            compiled,
            load,
            prices: Prices::default(),
        }
    }

    /// The module's file.
    pub(crate) fn file(&self) -> String {
        self.compiled.path.display().to_string()
    }

    fn round(&mut self, effort: Effort) -> Result<(), String> {
        let module = &self.compiled.module;
        let measured = round::measure(&self.load, module, effort, &mut self.prices);
        measured.map_err(|error| format!("{}: {error}", self.file()))
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
            ("compile", &self.compiled.took),
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
        json!({ "file": self.file(), "prices": prices.collect::<Vec<_>>() })
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
pub(crate) fn run(subjects: &mut [Subject<'_>], effort: Effort) -> Result<(), String> {
    for _ in 0..effort.rounds {
        for subject in &mut *subjects {
            subject.round(effort)?;
        }
    }
    Ok(())
}

/// The price lists for programs.
pub(crate) fn json(subject: &Subject<'_>, baseline: Option<&Subject<'_>>) -> Json {
    let mut json = subject.json();
    if let Some(baseline) = baseline {
        json["baseline"] = baseline.json();
    }
    json
}
