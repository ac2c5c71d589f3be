//! [`Load`]: what a round of measurements does.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_abi::{Direction, HeaderMap, Module, Vm};

use super::profile::{Callbacks, Hostcalls, Prices};
use super::{Traffic, request_headers, response_headers};
use crate::driver::{Driver, Exchange, Observer, Properties, Setup, TestHost};

/// VMs that are started in a round.
const STARTS: usize = 5;

/// Streams that pass in a round, for each thing that is measured.
const STREAMS: usize = 200;

/// Streams that are open at once to find what one takes of memory.
const OPEN_STREAMS: u64 = 256;

/// Time that passes between two streams: timers of filters tick now and then.
const GAP: Duration = Duration::from_millis(5);

/// The messages of each stream.
pub(super) struct Load {
    request: HeaderMap,
    response: HeaderMap,
    body: Bytes,
}

impl Load {
    pub(super) fn new(traffic: &Traffic) -> Self {
        let text = b"{\"name\": \"value\", \"list\": [1, 2, 3]}, ";
        let body: Vec<u8> = text.iter().copied().cycle().take(traffic.body).collect();
        Self {
            request: request_headers(traffic),
            response: response_headers(traffic),
            body: body.into(),
        }
    }

    /// Measures everything once more.
    pub(super) fn round(
        &self,
        module: &Module,
        setup: &Setup,
        prices: &mut Prices,
    ) -> Result<(), String> {
        for _ in 0..STARTS {
            let began = Instant::now();
            let host = TestHost::new(setup, false);
            let vm = Vm::new(module, setup.vm.clone(), host).map_err(|error| error.to_string())?;
            let instantiated = began.elapsed();
            let root = vm.start_plugin(setup.plugin.clone());
            let both = began.elapsed();
            root.map_err(|error| match vm.failure() {
                Some(failure) => failure.to_string(),
                None => error.to_string(),
            })?;
            prices.instantiate.push(instantiated);
            prices.configure.push(both.saturating_sub(instantiated));
        }
        let plain = start(module, setup, Observer::Nobody)?;
        for _ in 0..STREAMS {
            let began = Instant::now();
            self.pass(&plain)?;
            prices.stream.push(began.elapsed());
        }
        self.callbacks(module, setup, prices)?;
        self.hostcalls(module, setup, prices)?;
        self.memory(module, setup, prices)
    }

    fn callbacks(&self, module: &Module, setup: &Setup, prices: &mut Prices) -> Result<(), String> {
        let meter = Rc::new(Callbacks::default());
        let driver = start(module, setup, Observer::Meter(Rc::clone(&meter) as _))?;
        let mut note = |counts: u64| {
            for (name, took) in meter.take() {
                let used = prices.callbacks.entry(name).or_default();
                used.samples.push(took);
                used.in_streams += counts;
            }
        };
        note(0);
        for _ in 0..STREAMS {
            self.pass(&driver)?;
            note(1);
            driver.advance(GAP);
            note(0);
        }
        Ok(())
    }

    fn hostcalls(&self, module: &Module, setup: &Setup, prices: &mut Prices) -> Result<(), String> {
        let watch = Rc::new(Hostcalls::default());
        let driver = start(module, setup, Observer::Watch(Rc::clone(&watch) as _))?;
        let mut note = |counts: u64| {
            let (calls, allocations, allocated) = watch.take();
            for (name, took) in calls {
                let used = prices.hostcalls.entry(name).or_default();
                used.samples.push(took);
                used.in_streams += counts;
            }
            prices.allocations += allocations * counts;
            prices.allocated += allocated * counts;
            prices.streams += counts;
        };
        note(0);
        for _ in 0..STREAMS {
            self.pass(&driver)?;
            note(1);
            driver.advance(GAP);
            note(0);
        }
        Ok(())
    }

    fn memory(&self, module: &Module, setup: &Setup, prices: &mut Prices) -> Result<(), String> {
        let driver = start(module, setup, Observer::Nobody)?;
        let size = || driver.vm.memory_size() as u64;
        prices.memory_of_vm = size();
        let open: Vec<_> = (0..OPEN_STREAMS)
            .map(|_| {
                let exchange = driver.open(Properties::default());
                exchange.headers(Direction::Request, self.request.clone(), false);
                exchange
            })
            .collect();
        let grown = size().saturating_sub(prices.memory_of_vm);
        prices.memory_of_stream = grown / OPEN_STREAMS;
        drop(open);
        driver.stop();
        healthy(&driver)
    }

    /// One stream from begin to end. Whom the filter asks agrees.
    fn pass(&self, driver: &Driver) -> Result<(), String> {
        let exchange = driver.open(Properties::default());
        let agree = |exchange: &Exchange| {
            while let Some(callout) = driver.host.take_callout(|_| true) {
                // One that has failed is found out below.
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
        driver.host.take_log();
        healthy(driver)
    }
}

fn start(module: &Module, setup: &Setup, observer: Observer) -> Result<Driver, String> {
    let host = TestHost::observed(setup, observer);
    Driver::start(module, setup, &host).map_err(|error| error.to_string())
}

fn healthy(driver: &Driver) -> Result<(), String> {
    driver.failure().map_or(Ok(()), Err)
}
