//! The benchmark of a test: what its phases take, with other streams under way.

use std::time::{Duration, Instant};

use weir_abi::{Direction, LogLevel, Module, VmFailed};

use super::phases::Phases;
use super::read::{Steps, Suite};
use crate::driver::{Driver, Setup, TestHost};
use crate::measure::{self, Samples};
use crate::report::Measured;

/// How long the life of a plugin, and that of a stream, is measured.
const BUDGET: Duration = Duration::from_millis(300);

/// Measures a test. Nothing is expected, but that the filter does not fail.
pub(super) fn run(
    suite: &Suite,
    steps: &Steps,
    module: &Module,
    setup: &Setup,
) -> Result<Vec<Measured>, String> {
    let setup = Setup {
        log_level: LogLevel::Critical,
        ..setup.clone()
    };
    let start = || {
        let host = TestHost::new(&setup);
        Driver::start(module, &setup, &host).map_err(|error| error.to_string())
    };
    let mut plugin = Samples::default();
    measure::repeat(BUDGET, |counts| {
        let began = Instant::now();
        start()?.stop();
        if counts {
            plugin.push(began.elapsed());
        }
        Ok::<_, String>(())
    })?;
    let driver = start()?;
    let streams = Streams::new(suite, steps, &driver);
    let streams = streams.and_then(Streams::measure);
    let streams = streams.map_err(|VmFailed| driver.failure().unwrap_or_default())?;
    let all = [("plugin_lifecycle".to_owned(), plugin)]
        .into_iter()
        .chain(streams);
    let measured = all.filter_map(|(name, samples)| {
        let sampled = samples.sampled()?;
        Some(Measured {
            name,
            nanoseconds: sampled.median,
            rounds: sampled.rounds,
        })
    });
    Ok(measured.collect())
}

/// A stream beside the measured one, and the step that it takes next.
struct Beside {
    stream: Option<Phases>,
    next: usize,
}

struct Streams<'s> {
    steps: &'s Steps,
    driver: &'s Driver,
    beside: Vec<Beside>,
    advance_rate: usize,
    /// Whose turn it is among those beside.
    turn: usize,
}

type Named = Vec<(String, Samples)>;

impl<'s> Streams<'s> {
    fn new(suite: &Suite, steps: &'s Steps, driver: &'s Driver) -> Result<Self, VmFailed> {
        let beside = |_| Beside {
            stream: None,
            next: 0,
        };
        let mut streams = Self {
            steps,
            driver,
            beside: (0..suite.additional_streams).map(beside).collect(),
            advance_rate: suite.advance_rate,
            turn: 0,
        };
        for index in 0..streams.beside.len() {
            streams.advance(index)?;
            streams.advance(index)?;
        }
        Ok(streams)
    }

    /// The phases that a stream goes through.
    fn phases(&self) -> Vec<(&'static str, Direction, Part<'s>)> {
        let steps = self.steps;
        let mut phases = Vec::new();
        for (names, direction, headers, bodies) in [
            (
                ("request_headers", "request_body"),
                Direction::Request,
                &steps.request_headers,
                &steps.request_body,
            ),
            (
                ("response_headers", "response_body"),
                Direction::Response,
                &steps.response_headers,
                &steps.response_body,
            ),
        ] {
            if let Some((headers, _)) = headers {
                phases.push((names.0, direction, Part::Headers(headers)));
            }
            for (pieces, _) in bodies {
                phases.push((names.1, direction, Part::Body(pieces)));
            }
        }
        phases
    }

    /// The stream beside at `index` takes a step.
    fn advance(&mut self, index: usize) -> Result<(), VmFailed> {
        let phases = self.phases();
        let beside = &mut self.beside[index];
        match &beside.stream {
            None => {
                beside.stream = Some(Phases::open(&self.driver.vm, self.driver.root)?);
                beside.next = 0;
            }
            Some(stream) => match phases.get(beside.next) {
                Some((_, direction, part)) => {
                    part.show(stream, *direction)?;
                    beside.next += 1;
                }
                None => {
                    if let Some(stream) = beside.stream.take() {
                        stream.end()?;
                    }
                }
            },
        }
        Ok(())
    }

    fn measure(mut self) -> Result<Named, VmFailed> {
        let phases = self.phases();
        let mut life = Samples::default();
        let mut samples = vec![Samples::default(); phases.len()];
        measure::repeat(BUDGET, |counts| {
            for _ in 0..self.advance_rate.min(self.beside.len()) {
                self.turn = (self.turn + 1) % self.beside.len();
                self.advance(self.turn)?;
            }
            let began = Instant::now();
            let stream = Phases::open(&self.driver.vm, self.driver.root)?;
            let mut took = began.elapsed();
            for ((_, direction, part), samples) in phases.iter().zip(&mut samples) {
                let began = Instant::now();
                part.show(&stream, *direction)?;
                if counts {
                    samples.push(began.elapsed());
                }
            }
            let began = Instant::now();
            stream.end()?;
            took += began.elapsed();
            if counts {
                life.push(took);
            }
            Ok::<_, VmFailed>(())
        })?;
        let names = phases.iter().map(|(name, ..)| (*name).to_owned());
        let all = [("stream_lifecycle".to_owned(), life)];
        Ok(all.into_iter().chain(names.zip(samples)).collect())
    }
}

/// What a phase shows.
enum Part<'s> {
    Headers(&'s weir_abi::HeaderMap),
    Body(&'s [bytes::Bytes]),
}

impl Part<'_> {
    fn show(&self, stream: &Phases, direction: Direction) -> Result<(), VmFailed> {
        match self {
            Self::Headers(headers) => stream.headers(direction, headers).map(drop),
            Self::Body(pieces) => stream.body(direction, pieces).map(drop),
        }
    }
}
