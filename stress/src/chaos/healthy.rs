//! Healthy requests, with and without chaos on another route of their workers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_conformance::Client;
use weir_stress::Weir;

use crate::gateway::{PLAIN, Programs, load, median, rate};

/// What the chaotic filter is told to do, in turn.
const CHAOS: [&str; 6] = ["loop", "trap", "bomb", "recurse", "hostcalls", "wild"];

/// What it may take.
const LIMITS: &str = "limits: { callback: 10ms, memory: 16MiB }";

/// Between requests of a healthy connection, when it is latency that is measured:
/// eight connections make 2000 a second.
const PACE: Duration = Duration::from_millis(4);

/// A crash loop lasts as long as the longest interval between two starts.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests of chaos in a second. Beside few of them, the filter has others that it
/// serves, so that each finds a VM to ruin; beside many it has none.
const KINDS: [usize; 3] = [0, 10, 500];
const MANY: usize = 500;

/// What was seen of one kind.
#[derive(Default)]
struct Seen {
    rates: Vec<f64>,
    /// Against the turn without chaos of the same round.
    ratios: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    longest: Vec<f64>,
    chaos: usize,
    crash_loop: bool,
}

pub(crate) fn run(programs: &Programs, rounds: usize, seconds: u64) -> Result<()> {
    let weir = programs.start(2, &[("healthy", PLAIN), ("chaos", LIMITS)])?;
    let mut seen: Vec<_> = KINDS.iter().map(|_| Seen::default()).collect();
    for _ in 0..rounds {
        let mut without = f64::NAN;
        for (kind, seen) in KINDS.into_iter().zip(&mut seen) {
            let busy = beside_chaos(&weir, kind, seen, || {
                load(&weir, "healthy", seconds, Duration::ZERO)
            })?;
            let paced = beside_chaos(&weir, kind, seen, || load(&weir, "healthy", seconds, PACE))?;
            let rate = rate(&busy);
            if without.is_nan() {
                without = rate;
            }
            seen.rates.push(rate);
            seen.ratios.push(rate / without);
            let millis = |percent| paced.latencies.percentile(percent).as_secs_f64() * 1e3;
            seen.p50.push(millis(50));
            seen.p99.push(millis(99));
            seen.longest.push(millis(100));
        }
    }
    println!(
        "chaos/s  healthy/s  ratio   p50 ms   p99 ms   longest ms   chaotic requests   crash loop"
    );
    for (kind, seen) in KINDS.into_iter().zip(seen) {
        println!(
            "{kind:>7} {:>10.0} {:>6.2} {:>8.2} {:>8.2} {:>12.2} {:>18} {:>12}",
            median(seen.rates),
            median(seen.ratios),
            median(seen.p50),
            median(seen.p99),
            median(seen.longest),
            seen.chaos,
            seen.crash_loop,
        );
        ensure!(
            seen.crash_loop == (kind >= MANY),
            "{kind} chaotic requests a second: crash loop: {}",
            seen.crash_loop
        );
    }
    let failures = weir.metric("weir_wasm_vm_failures_total", "chaos")?;
    println!(
        "medians of {rounds} rounds of {seconds} s; {failures} VMs have failed, no healthy request"
    );
    Ok(())
}

/// Waits until the chaotic filter is in no crash loop any more.
fn settle(weir: &Weir) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while weir.metric("weir_wasm_vm_crash_loop", "chaos")? > 0 {
        // Workers share the connections.
        for _ in 0..16 {
            Client::connect(weir.listener("chaos")?).get("/");
        }
        ensure!(Instant::now() < end, "the crash loop does not end");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Runs `work` while the chaotic filter gets so many requests a second.
fn beside_chaos<R>(
    weir: &Weir,
    per_second: usize,
    seen: &mut Seen,
    work: impl FnOnce() -> Result<R>,
) -> Result<R> {
    settle(weir)?;
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let looped = AtomicBool::new(false);
    let chaos = weir.listener("chaos")?;
    let result = thread::scope(|scope| {
        if per_second > 0 {
            scope.spawn(|| {
                let gap = Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(u32::MAX);
                let mut next = Instant::now();
                let mut client = Client::connect(chaos);
                while !over.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    client.get_with("/", &[("x-chaos", CHAOS[number % CHAOS.len()])]);
                    if per_second < MANY {
                        client.get("/");
                    }
                    next += gap;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let loops = weir.metric("weir_wasm_vm_crash_loop", "chaos").unwrap_or(0);
                    looped.fetch_or(loops > 0, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(200));
                }
            });
        }
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    });
    seen.chaos += sent.into_inner();
    seen.crash_loop |= looped.into_inner();
    result
}
