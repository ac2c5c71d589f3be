//! What a round of measurements does.

use std::rc::Rc;
use std::time::Instant;

use weir_abi::{Module, Vm};

use super::Effort;
use super::load::Load;
use super::profile::{Callbacks, Hostcalls, Prices};
use crate::driver::{Observer, TestHost};

/// Measures everything once more.
///
/// # Errors
/// Why the filter does not run.
pub(super) fn measure(
    load: &Load,
    module: &Module,
    effort: Effort,
    prices: &mut Prices,
) -> Result<(), String> {
    for _ in 0..effort.starts {
        start(load, module, prices)?;
    }
    let mut plain = load.start(module, Observer::Nobody)?;
    let streams = u32::try_from(load.streams()).unwrap_or(u32::MAX);
    for _ in 0..effort.passes {
        let began = Instant::now();
        plain.pass()?;
        prices.stream.push(began.elapsed() / streams);
    }
    callbacks(load, module, effort, prices)?;
    hostcalls(load, module, effort, prices)?;
    memory(load, module, effort, prices)
}

fn start(load: &Load, module: &Module, prices: &mut Prices) -> Result<(), String> {
    let setup = load.setup();
    let began = Instant::now();
    let host = TestHost::new(setup);
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
    Ok(())
}

fn callbacks(
    load: &Load,
    module: &Module,
    effort: Effort,
    prices: &mut Prices,
) -> Result<(), String> {
    let meter = Rc::new(Callbacks::default());
    let mut running = load.start(module, Observer::Meter(Rc::clone(&meter) as _))?;
    let mut note = |counts: u64| {
        for (name, took) in meter.take() {
            let used = prices.callbacks.entry(name).or_default();
            used.samples.push(took);
            used.in_streams += counts;
        }
    };
    note(0);
    for _ in 0..effort.passes {
        running.pass()?;
        note(1);
        running.rest();
        note(0);
    }
    Ok(())
}

fn hostcalls(
    load: &Load,
    module: &Module,
    effort: Effort,
    prices: &mut Prices,
) -> Result<(), String> {
    let watch = Rc::new(Hostcalls::default());
    let mut running = load.start(module, Observer::Watch(Rc::clone(&watch) as _))?;
    let mut note = |counts: u64| {
        let (calls, allocations, allocated) = watch.take();
        for (name, took) in calls {
            let used = prices.hostcalls.entry(name).or_default();
            used.samples.push(took);
            used.in_streams += counts;
        }
        prices.allocations += allocations * counts;
        prices.allocated += allocated * counts;
        prices.streams += load.streams() * counts;
    };
    note(0);
    for _ in 0..effort.passes {
        running.pass()?;
        note(1);
        running.rest();
        note(0);
    }
    Ok(())
}

fn memory(load: &Load, module: &Module, effort: Effort, prices: &mut Prices) -> Result<(), String> {
    let mut running = load.start(module, Observer::Nobody)?;
    prices.memory_of_vm = running.memory_size();
    for _ in 0..effort.open_streams {
        running.leave_open();
    }
    let grown = running.memory_size().saturating_sub(prices.memory_of_vm);
    prices.memory_of_stream = grown / effort.open_streams;
    running.stop()
}
