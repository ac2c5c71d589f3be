//! Reloads of every kind, under load on connections that stay open.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_conformance::guests::response_marker;
use weir_conformance::{Client, h2};
use weir_stress::Weir;

use crate::gateway::{Programs, load, median};

/// Between two requests of one of the eight HTTP/1.1 connections: 1000 a second.
const PACE: Duration = Duration::from_millis(8);

/// HTTP/2 connections, each with one request after the other.
const HTTP2_CONNECTIONS: usize = 4;
const HTTP2_PACE: Duration = Duration::from_millis(4);

/// Every so many reloads, one is broken.
const BROKEN: usize = 10;

/// What the configuration is like after so many reloads: the code changes, the
/// filter's configuration, the routes, and another listener comes and goes. The
/// header `x-route` tells which generation a response is of, as `x-version` does.
fn configuration(number: usize, upstream: std::net::SocketAddr) -> String {
    let more = if number % 4 == 3 {
        "- { name: more, address: 127.0.0.1:0, \
         routes: [{ match: { prefix: / }, cluster: web }] }\n"
    } else {
        ""
    };
    format!(
        "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n{more}- name: healthy\n  \
         address: 127.0.0.1:0\n  http_filters:\n  - name: mark\n    wasm: {{ configuration: \
         \"{}\", vm_config: {{ code: {{ local: {{ filename: mark.wasm }} }} }} }}\n  \
         routes:\n  - {{ match: {{ prefix: /{number} }}, cluster: web }}\n  \
         - {{ match: {{ prefix: / }}, cluster: web }}\n\
         clusters: [{{ name: web, endpoints: [\"{upstream}\"] }}]\n",
        number / 2,
    )
}

pub(crate) fn run(programs: &Programs, count: usize, seconds: u64) -> Result<()> {
    let upstream = programs.upstream();
    let files = [("mark.wasm", response_marker("0"))];
    let files: Vec<_> = files.iter().map(|(n, b)| (*n, &b[..])).collect();
    let weir = Weir::start(programs.weir(), &configuration(0, upstream), &files)?;
    let address = weir.listener("healthy")?;
    // Spares come a moment later.
    thread::sleep(Duration::from_secs(1));
    let vms = weir.metric("weir_wasm_vms_active", "")?;
    let before = load(&weir, "healthy", 3, PACE)?;
    let memory = weir.memory()?;
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (during, took) = thread::scope(|scope| -> Result<_> {
        let http2 = (0..HTTP2_CONNECTIONS).map(|_| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let mut client = h2::connect(address).await;
                    while !over.load(Ordering::Relaxed) {
                        let response = h2::get(&mut client, "/", &[]).await;
                        let response = response.context("over HTTP/2")?;
                        ensure!(response.status == 200, "over HTTP/2: {}", response.status);
                        served.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(HTTP2_PACE).await;
                    }
                    Ok(())
                })
            })
        });
        let http2: Vec<_> = http2.collect();
        let http1 = scope.spawn(|| load(&weir, "healthy", seconds, PACE));
        let reloads = reload(&weir, count, seconds, upstream);
        let during = http1
            .join()
            .map_err(|_| anyhow::anyhow!("the load has panicked"))?;
        over.store(true, Ordering::Relaxed);
        for connection in http2 {
            connection
                .join()
                .map_err(|_| anyhow::anyhow!("a connection has panicked"))??;
        }
        Ok((during?, reloads?))
    })?;
    let millis = |outcome: &weir_load::Outcome, percent| {
        outcome.latencies.percentile(percent).as_secs_f64() * 1e3
    };
    println!(
        "{count} reloads in {seconds} s, every {BROKEN}th broken: {:.1} ms each (median); {} \
         requests over HTTP/1.1 and {} over HTTP/2, none failed",
        median(took),
        during.requests,
        served.into_inner(),
    );
    println!(
        "p50 {:.2} -> {:.2} ms, p99 {:.2} -> {:.2} ms",
        millis(&before, 50),
        millis(&during, 50),
        millis(&before, 99),
        millis(&during, 99),
    );
    settled(&weir, vms)?;
    let then = weir.memory()?;
    println!("memory {} -> {} MiB, {vms} VMs", memory >> 20, then >> 20);
    ensure!(then < memory + GROWTH_MAX, "memory has grown");
    Ok(())
}

/// By how much Weir may be larger afterwards, in bytes: what its allocator keeps.
const GROWTH_MAX: u64 = 32 << 20;

/// Reloads `count` times, evenly spread; gives how long each took, in milliseconds.
fn reload(
    weir: &Weir,
    count: usize,
    seconds: u64,
    upstream: std::net::SocketAddr,
) -> Result<Vec<f64>> {
    let mut admin = Client::connect_as(weir.admin(), "localhost");
    let gap = Duration::from_secs(seconds) / u32::try_from(count).unwrap_or(u32::MAX);
    let mut next = Instant::now();
    let mut took = Vec::with_capacity(count);
    for number in 1..=count {
        let is_broken = number % BROKEN == 0;
        if is_broken {
            weir.replace("weir.yaml", b"listeners: [{ name: healthy }]")?;
        } else {
            weir.replace("mark.wasm", &response_marker(&number.to_string()))?;
            let text = configuration(number, upstream);
            weir.replace("weir.yaml", text.as_bytes())?;
        }
        let began = Instant::now();
        let answer = admin.request("POST", "/reload", &[], b"");
        took.push(began.elapsed().as_secs_f64() * 1e3);
        let expected = if is_broken { 400 } else { 200 };
        ensure!(
            answer.status == expected,
            "reload {number}: {}",
            answer.text()
        );
        next += gap;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(took)
}

/// Waits until only the last generation is there, with as many VMs as at first.
fn settled(weir: &Weir, vms: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let generations = weir.metric("weir_generations", "")?;
        let active = weir.metric("weir_wasm_vms_active", "")?;
        if (generations, active) == (1, vms) {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "{generations} generations, {active} VMs instead of {vms}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}
