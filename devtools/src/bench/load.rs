//! [`Load`]: what passes through a filter that is measured.

use std::rc::Rc;
use std::time::Duration;

use weir_abi::{Direction, HeaderMap, LogLevel, Module};

use super::Traffic;
use crate::driver::{Driver, Exchange, Observer, Properties, Setup, TestHost};
use crate::suite::{Rounds, Suite, Test};

/// Time that passes between two streams: timers of filters tick now and then.
const GAP: Duration = Duration::from_millis(5);

/// What passes, and what the filter is started with.
pub(crate) enum Load {
    /// A request and its response, again and again.
    Traffic(Box<Messages>),
    /// The steps of a bench of a suite, which is at this place.
    Bench(Rc<Suite>, usize),
}

/// A request and its response.
pub(crate) struct Messages {
    setup: Setup,
    request: HeaderMap,
    response: HeaderMap,
    body: bytes::Bytes,
}

impl Load {
    /// Messages like those of a browser, for the filter called `name`.
    pub(crate) fn traffic(name: &str, configuration: Vec<u8>, traffic: &Traffic) -> Self {
        let text = b"{\"name\": \"value\", \"list\": [1, 2, 3]}, ";
        let body: Vec<u8> = text.iter().copied().cycle().take(traffic.body).collect();
        Self::Traffic(Box::new(Messages {
            setup: Setup {
                log_level: LogLevel::Critical,
                now: now(),
                ..Setup::new(name, configuration)
            },
            request: request_headers(traffic),
            response: response_headers(traffic),
            body: body.into(),
        }))
    }

    fn bench(suite: &Suite, place: usize) -> &Test {
        &suite.benches[place]
    }

    /// What the filter is started with.
    pub(super) fn setup(&self) -> &Setup {
        match self {
            Self::Traffic(messages) => &messages.setup,
            Self::Bench(suite, place) => &Self::bench(suite, *place).setup,
        }
    }

    /// Streams of one pass.
    pub(super) fn streams(&self) -> u64 {
        match self {
            Self::Traffic(_) => 1,
            Self::Bench(suite, place) => Self::bench(suite, *place).streams(),
        }
    }

    /// Starts the filter, and does what comes before the first pass.
    pub(super) fn start(&self, module: &Module, observer: Observer) -> Result<Running<'_>, String> {
        match self {
            Self::Traffic(messages) => {
                let host = TestHost::observed(&messages.setup, observer);
                let driver = Driver::start(module, &messages.setup, &host);
                let driver = driver.map_err(|error| error.to_string())?;
                Ok(Running::Traffic(messages, driver))
            }
            Self::Bench(suite, place) => {
                let bench = Self::bench(suite, *place);
                Rounds::start(suite, bench, module, observer).map(Running::Bench)
            }
        }
    }
}

/// A filter through which passes are made.
pub(super) enum Running<'l> {
    Traffic(&'l Messages, Driver),
    Bench(Rounds<'l>),
}

impl Running<'_> {
    /// Once from begin to end.
    pub(super) fn pass(&mut self) -> Result<(), String> {
        match self {
            Self::Traffic(messages, driver) => {
                messages.pass(driver);
                driver.host.take_log();
                driver.failure().map_or(Ok(()), Err)
            }
            Self::Bench(rounds) => rounds.round(),
        }
    }

    /// What passes between two passes: time, unless a bench says how much.
    pub(super) fn rest(&self) {
        if let Self::Traffic(_, driver) = self {
            driver.advance(GAP);
        }
    }

    /// Begins a stream that stays open.
    pub(super) fn leave_open(&mut self) {
        match self {
            Self::Traffic(messages, driver) => {
                let exchange = driver.open(Properties::default());
                exchange.headers(Direction::Request, messages.request.clone(), false);
            }
            Self::Bench(rounds) => rounds.leave_open(),
        }
    }

    fn driver(&self) -> &Driver {
        match self {
            Self::Traffic(_, driver) => driver,
            Self::Bench(rounds) => rounds.driver(),
        }
    }

    /// Bytes of the VM's memory.
    pub(super) fn memory_size(&self) -> u64 {
        self.driver().vm.memory_size() as u64
    }

    /// Ends the filter.
    pub(super) fn stop(self) -> Result<(), String> {
        self.driver().stop();
        self.driver().failure().map_or(Ok(()), Err)
    }
}

impl Messages {
    /// One stream from begin to end. Whom the filter asks agrees.
    fn pass(&self, driver: &Driver) {
        let exchange = driver.open(Properties::default());
        let agree = |exchange: &Exchange| {
            while let Some(callout) = driver.host.take_callout(|_| true) {
                // That a filter has failed is looked at in the end.
                let _ = callout.agree(&driver.vm);
            }
            exchange.settle();
        };
        for (direction, headers) in [
            (Direction::Request, &self.request),
            (Direction::Response, &self.response),
        ] {
            let end = self.body.is_empty();
            exchange.headers(direction, headers.clone(), end);
            agree(&exchange);
            if !end {
                exchange.body(direction, self.body.clone(), true);
                agree(&exchange);
            }
        }
        driver.close(&exchange);
    }
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
