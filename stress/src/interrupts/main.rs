//! `weir-interrupts`: guests that never return, interrupted at random moments.
//!
//! Every call must be ended for its time, soon after that is over, and the process
//! must be as good as new after each: the guests are in the middle of arithmetic,
//! hostcalls, allocations and bulk instructions. Which limit each call has follows
//! from a seed.

#![forbid(unsafe_code)]

mod guests;

use std::fmt;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use weir_abi::{
    Deadline, Failure, Host, LogLevel, Module, Origin, PluginConfig, Reason, Stream, TimeLimits,
    Vm, VmConfig,
};
use weir_benches::memory::MemoryStream;
use weir_stress::Random;

use crate::guests::Guest;

/// Interrupts guests at random moments.
#[derive(Parser)]
struct Arguments {
    /// Calls that are interrupted.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// What the limits follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads that run guests.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Lets guests count, instead of interrupting them with signals.
    #[arg(long)]
    counter: bool,
    /// The probe of the conformance suite, which allocates as Rust programs do.
    #[arg(long)]
    probe: Option<std::path::PathBuf>,
}

/// Limits of calls, in microseconds. Below, the watchdog has no finer ticks.
const LIMITS: std::ops::Range<usize> = 100..1500;

/// A call that goes on for so much longer has been forgotten.
const PATIENCE: Duration = Duration::from_secs(10);

struct Quiet;

impl Host for Quiet {
    fn log(&self, _: Origin<'_>, _: LogLevel, _: &[u8]) {}

    fn log_level(&self) -> Option<LogLevel> {
        Some(LogLevel::Info)
    }

    fn failed(&self, _: Origin<'_>, _: &Failure, _: Option<&dyn Stream>) {}
}

/// How late the calls of one guest were ended.
struct Lateness(Vec<Duration>);

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = self.0.clone();
        all.sort_unstable();
        let part = |part: usize| all.get(all.len() * part / 1000).copied();
        let [median, high] = [part(500), part(990)].map(Option::unwrap_or_default);
        let most = all.last().copied().unwrap_or_default();
        write!(
            f,
            "{} calls, late by {median:.0?} (median), {high:.0?} (99 %), {most:.0?} at most",
            all.len()
        )
    }
}

/// Runs one call that never returns, and gives how late it was ended.
fn interrupt(guest: &Guest, module: &Module, limit: Duration) -> Result<Duration, String> {
    let vm = Vm::new(module, VmConfig::default(), Rc::new(Quiet)).map_err(|e| e.to_string())?;
    let plugin = PluginConfig {
        configuration: guest.configuration.clone().into(),
        time: TimeLimits {
            callback: limit,
            ..TimeLimits::default()
        },
        ..PluginConfig::default()
    };
    let root = vm.start_plugin(plugin).map_err(|e| e.to_string())?;
    let stream = Rc::<MemoryStream>::default();
    let Ok(context) = vm.create_stream(root, stream, 0) else {
        // Ended while it was created: it has as little time.
        return vm.failure().map_or_else(
            || Err("there is no context".to_owned()),
            |failure| ended(failure, Duration::ZERO),
        );
    };
    let began = Instant::now();
    let result = vm.on_request_headers(context, true);
    let took = began.elapsed();
    match vm.failure() {
        Some(failure) => ended(failure, took.saturating_sub(limit)),
        None => Err(format!("it has returned: {result:?}")),
    }
}

fn ended(failure: &Failure, late: Duration) -> Result<Duration, String> {
    if failure.reason != Reason::Deadline {
        return Err(failure.to_string());
    }
    if late > PATIENCE {
        return Err(format!("it was ended {late:?} late"));
    }
    Ok(late)
}

fn run(arguments: &Arguments, thread: u64) -> Result<Vec<(&'static str, Lateness)>, String> {
    let deadline = if arguments.counter {
        Deadline::Counter
    } else {
        Deadline::Watchdog
    };
    let guests = guests::all(arguments.probe.as_deref())?;
    let compile = |guest: &Guest| Module::compile_for(&guest.module, deadline);
    let modules: Result<Vec<_>, _> = guests.iter().map(compile).collect();
    let modules = modules.map_err(|e| e.to_string())?;
    let mut all: Vec<_> = guests
        .iter()
        .map(|g| (g.name, Lateness(Vec::new())))
        .collect();
    let mut random = Random::new(arguments.seed, thread);
    for n in 0..arguments.count / arguments.threads.max(1) {
        let which = (n % guests.len() as u64) as usize;
        let micros = LIMITS.start + random.below(LIMITS.len());
        let limit = Duration::from_micros(micros as u64);
        let late = interrupt(&guests[which], &modules[which], limit)
            .map_err(|error| format!("{}, call {n}: {error}", guests[which].name))?;
        all[which].1.0.push(late);
    }
    Ok(all)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let results: Vec<_> = thread::scope(|scope| {
        let start = |thread| {
            let arguments = &arguments;
            scope.spawn(move || run(arguments, thread))
        };
        let threads: Vec<_> = (0..arguments.threads).map(start).collect();
        let joined = threads.into_iter().map(|t| match t.join() {
            Ok(result) => result,
            Err(_) => Err("a thread has panicked".to_owned()),
        });
        joined.collect()
    });
    let mut by_guest: Vec<(&str, Lateness)> = Vec::new();
    for result in results {
        match result {
            Ok(of_thread) => {
                for (name, late) in of_thread {
                    match by_guest.iter_mut().find(|(n, _)| *n == name) {
                        Some((_, all)) => all.0.extend(late.0),
                        None => by_guest.push((name, late)),
                    }
                }
            }
            Err(error) => {
                eprintln!("failed: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    for (name, late) in by_guest {
        println!("{name}: {late}");
    }
    ExitCode::SUCCESS
}
