//! `weir-soak`: Weir with a guest that makes callouts of every kind without end,
//! and servers that answer, stall, reset and close by chance.
//!
//! Every call has to end once, no token may be handed out while it is in use,
//! and memory must not grow once it is warm.

#![forbid(unsafe_code)]

mod chance;
mod guest;
mod http1;
mod http2;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tokio::net::TcpListener;

use crate::chance::Chance;
use weir_stress::Weir;

/// Soaks Weir in callouts.
#[derive(Parser)]
struct Arguments {
    /// The program.
    #[arg(long)]
    weir: PathBuf,
    /// Callouts.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// What the guest and the servers do follows from it, but for timing.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Makes callouts of this kind only, 0 to 7, to see what one costs.
    #[arg(long)]
    only: Option<u64>,
}

/// Part of the calls after which memory is warm, in percent.
const WARM: u64 = 20;
/// By how much memory may be larger then: pages that the allocator has not given
/// back, in bytes.
const GROWTH_MAX: u64 = 8 << 20;
/// How long no call may end before the run has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How far the guest has come.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Progress {
    begun: u64,
    ended: u64,
    cancelled: u64,
}

impl Progress {
    fn read(weir: &Weir) -> Result<Self> {
        let metrics = weir.metrics()?;
        let sum = |name: &str| -> u64 {
            let lines = metrics.lines().filter(|l| !l.starts_with('#'));
            let samples = lines.filter(|l| {
                l.split([' ', '{'])
                    .next()
                    .is_some_and(|n| n.ends_with(name))
            });
            let values = samples.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
            values.sum::<f64>() as u64
        };
        ensure!(
            sum("weir_wasm_vm_failures_total") == 0,
            "the guest has failed:\n{}",
            weir.log()
        );
        Ok(Self {
            begun: sum("soak_begun"),
            ended: sum("soak_ended"),
            cancelled: sum("soak_cancelled"),
        })
    }

    fn over(self) -> u64 {
        self.ended + self.cancelled
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let chance = Chance::new(arguments.seed);
    let (http1, http2) = runtime.block_on(async {
        let http1 = TcpListener::bind("127.0.0.1:0").await?;
        let http2 = TcpListener::bind("127.0.0.1:0").await?;
        let addresses = (http1.local_addr()?, http2.local_addr()?);
        tokio::spawn(http1::serve(http1, chance.clone()));
        tokio::spawn(http2::serve(http2, chance.clone()));
        anyhow::Ok(addresses)
    })?;
    let nobody = weir_conformance::nobody();
    let module = guest::module(arguments.count, arguments.seed, arguments.only)?;
    let configuration = format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  http_filters:\n  - name: soak\n    wasm: {{ vm_config: \
         {{ code: {{ local: {{ filename: guest.wasm }} }} }} }}\n  \
         routes: [{{ match: {{ prefix: / }}, cluster: h1 }}]\nclusters:\n{}",
        clusters(http1, http2, nobody)
    );
    let files: [(&str, &[u8]); 1] = [("guest.wasm", &module)];
    let weir = Weir::start(&arguments.weir, &configuration, &files)?;
    let report = watch(&weir, arguments);
    runtime.shutdown_background();
    report
}

fn clusters(http1: SocketAddr, http2: SocketAddr, nobody: SocketAddr) -> String {
    format!(
        "- {{ name: h1, endpoints: [\"{http1}\"] }}\n\
         - {{ name: h2, protocol: http2, endpoints: [\"{http2}\"] }}\n\
         - {{ name: nobody, endpoints: [\"{nobody}\"] }}\n"
    )
}

/// Follows the run to its end.
fn watch(weir: &Weir, arguments: &Arguments) -> Result<String> {
    let began = Instant::now();
    let (mut last, mut moved) = (Progress::default(), Instant::now());
    let (mut warm, mut peak) = (None, 0);
    let mut marks = Vec::new();
    loop {
        let now = Progress::read(weir).with_context(|| weir.log())?;
        peak = peak.max(weir.memory()?);
        if now.over() > last.over() {
            moved = Instant::now();
        }
        last = now;
        if now.over() >= arguments.count * (marks.len() as u64 + 1) / 10 {
            marks.push(weir.memory()? >> 20);
        }
        if warm.is_none() && now.over() >= arguments.count * WARM / 100 {
            warm = Some(weir.memory()?);
        }
        if now.begun >= arguments.count && now.over() == now.begun {
            break;
        }
        if moved.elapsed() > PATIENCE {
            bail!("{} callouts do not end: {now:?}", now.begun - now.over());
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
    let took = began.elapsed().as_secs_f64();
    // An end that is told twice would come late.
    std::thread::park_timeout(4 * POLL_INTERVAL);
    ensure!(Progress::read(weir)? == last, "a callout has ended twice");
    let (warm, end) = (warm.unwrap_or(0), weir.memory()?);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let report = format!(
        "seed {}: {} callouts begun, {} ended, {} cancelled in {took:.1} s ({:.0}/s); \
         memory: {:.1} MiB after {WARM} %, {:.1} MiB at the end, {:.1} MiB at most; \
         every tenth of the run: {marks:?} MiB",
        arguments.seed,
        last.begun,
        last.ended,
        last.cancelled,
        last.begun as f64 / took,
        mib(warm),
        mib(end),
        mib(peak),
    );
    ensure!(end <= warm + GROWTH_MAX, "memory grows: {report}");
    Ok(report)
}
