//! Connections that wait, that are slow, and that are bad, all at once and beside
//! healthy ones.

mod client;
mod crowd;
mod flood;
mod memory;

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use weir_conformance::Over;
use weir_conformance::tls::Authority;
use weir_load::Outcome;
use weir_stress::Weir;

use self::client::{Clients, HOST, Kind, Waiting};
use self::crowd::{Endless, Lives, open_all, stay};
use crate::gateway::{Programs, load, median};

/// How many of each.
#[derive(Args)]
pub(crate) struct Plan {
    /// Connections that have been served, and wait: a quarter each of HTTP/1.1 and
    /// HTTP/2, without and with TLS.
    #[arg(long, default_value_t = 20_000)]
    idle: usize,
    /// Clients that send a byte of a head each second.
    #[arg(long, default_value_t = 2_000)]
    slow: usize,
    /// Clients that stop in the middle of a handshake of TLS.
    #[arg(long, default_value_t = 500)]
    handshakes: usize,
    /// Bad requests, each on a connection of its own.
    #[arg(long, default_value_t = 100_000)]
    bad: usize,
    /// Seconds that a head, or a handshake, may take.
    #[arg(long, default_value_t = 10)]
    timeout: u64,
    /// Seconds of each turn of healthy requests.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Connections of each kind whose memory is measured, in a process of its own.
    #[arg(long, default_value_t = 2_000)]
    each: usize,
}

/// Between requests of a healthy connection: eight make 800 a second.
const PACE: Duration = Duration::from_millis(10);

/// Turns without a flood.
const TURNS: usize = 3;

/// How much later than it should a client may be ended: clients and Weir share what
/// the machine has.
const LATENESS: Duration = Duration::from_secs(10);

/// And how much earlier it may seem: it learns late that it is connected.
const EARLINESS: Duration = Duration::from_secs(1);

/// Bytes by which Weir may grow for each connection that there is at the same time, and
/// besides.
const BYTES_EACH: u64 = 24 << 10;
const BYTES_BESIDES: u64 = 64 << 20;

/// Descriptors that this program needs for itself.
const OWN_DESCRIPTORS: usize = 300;

pub(crate) fn run(programs: &Programs, plan: &Plan, envoy: Option<&Path>) -> Result<()> {
    make_room(plan.idle + plan.slow + plan.handshakes)?;
    if plan.each > 0 {
        memory::run(programs, plan.each, envoy)?;
    }
    all_at_once(programs, plan)
}

/// Sees to it that so many connections can be open, here and in Weir.
fn make_room(connections: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    // Weir keeps one of 32 for others than clients.
    let needed = u64::try_from((connections + OWN_DESCRIPTORS) * 32 / 31)?;
    let most = limit.maximum.unwrap_or(u64::MAX);
    ensure!(
        needed <= most,
        "{connections} connections need {needed} file descriptors, of which a process may have \
         {most} here (`ulimit -Hn`): ask for fewer by `--idle`"
    );
    Ok(())
}

fn all_at_once(programs: &Programs, plan: &Plan) -> Result<()> {
    let authority = Authority::new("chaos");
    let identity = authority.issue(&[HOST]);
    let files = [
        ("edge.pem", identity.cert.as_bytes()),
        ("edge.key", identity.key.as_bytes()),
    ];
    let text = configuration(programs, plan);
    let weir = Weir::start(programs.weir(), &text, &files)?;
    let (plain, tls) = (weir.listener("plain")?, weir.listener("tls")?);
    let clients = Clients::new(plain, tls, &authority);
    let turn = || load(&weir, "plain", plan.seconds, PACE);
    let turns = || (0..TURNS).map(|_| turn()).collect::<Result<Vec<_>>>();

    let alone = turns()?;
    let empty = weir.memory()?;
    let is_over = AtomicBool::new(false);
    let (beside, flooded, full, report) = thread::scope(|scope| -> Result<_> {
        let (ready, is_ready) = mpsc::channel();
        let (flood, floods) = oneshot::channel();
        let (end, ends) = oneshot::channel();
        let is_over = &is_over;
        let crowd = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let clients = Rc::new(clients);
            LocalSet::new().block_on(&runtime, async {
                let mut crowd = Crowd::gather(clients, plan).await?;
                ready.send(())?;
                floods.await?;
                let over = Over(is_over);
                let report = crowd.flood(plan.bad).await;
                drop(over);
                ends.await?;
                crowd.check(report?)
            })
        });
        let measured = (|| -> Result<_> {
            is_ready.recv()?;
            let began = Instant::now();
            let beside = turns()?;
            let full = weir.memory()?;
            flood.send(()).map_err(|()| anyhow!("the crowd has gone"))?;
            let mut flooded = Vec::new();
            // All that is endless is to be ended once, at least.
            let long_enough = Duration::from_secs(plan.timeout) + LATENESS / 2;
            while flooded.is_empty()
                || !is_over.load(Ordering::Relaxed)
                || began.elapsed() < long_enough
            {
                flooded.push(turn()?);
            }
            end.send(()).map_err(|()| anyhow!("the crowd has gone"))?;
            Ok((beside, flooded, full))
        })();
        let report = crowd
            .join()
            .map_err(|_| anyhow!("the crowd has panicked"))?;
        // What went wrong there is why anything did here.
        let report = report.with_context(|| format!("the log of Weir:\n{}", weir.log()))?;
        let (beside, flooded, full) = measured?;
        Ok((beside, flooded, full, report))
    })?;

    println!("{report}");
    show("healthy requests alone", &alone, &alone);
    show("beside those that wait or are slow", &beside, &alone);
    show("and the bad ones", &flooded, &alone);
    let connections = u64::try_from(plan.idle + plan.slow + plan.handshakes)?;
    let growth = full.saturating_sub(empty);
    println!(
        "memory {} -> {} MiB: {} bytes for each of {connections} connections; {} MiB at the end",
        empty >> 20,
        full >> 20,
        growth / connections.max(1),
        weir.memory()? >> 20,
    );
    ensure!(
        growth < connections * BYTES_EACH + BYTES_BESIDES,
        "memory has grown"
    );
    let life = Duration::from_secs(plan.timeout);
    for (what, lives, count) in [
        ("slow clients", report.slow, plan.slow),
        ("unfinished handshakes", report.handshakes, plan.handshakes),
    ] {
        let (ended, shortest, longest) = lives;
        ensure!(ended >= count, "{ended} of {count} {what} were ended");
        ensure!(
            count == 0 || (shortest + EARLINESS >= life && longest < life + LATENESS),
            "{what} were ended after {shortest:.1?} to {longest:.1?}"
        );
    }
    Ok(())
}

/// Everybody but the healthy.
struct Crowd {
    clients: Rc<Clients>,
    idle: Vec<Waiting>,
    endless: JoinSet<Result<()>>,
    slow: Rc<Lives>,
    handshakes: Rc<Lives>,
}

/// What became of the crowd.
struct Report {
    idle: usize,
    refused: [usize; 3],
    flood: Duration,
    slow: (usize, Duration, Duration),
    handshakes: (usize, Duration, Duration),
}

impl Crowd {
    async fn gather(clients: Rc<Clients>, plan: &Plan) -> Result<Self> {
        let mut crowd = Self {
            idle: open_all(&clients, &Kind::IDLE, plan.idle).await?,
            clients,
            endless: JoinSet::new(),
            slow: Rc::default(),
            handshakes: Rc::default(),
        };
        for (count, endless, lives) in [
            (plan.slow, Endless::Head, &crowd.slow),
            (plan.handshakes, Endless::Handshake, &crowd.handshakes),
        ] {
            for _ in 0..count {
                let stay = stay(Rc::clone(&crowd.clients), endless, Rc::clone(lives));
                crowd.endless.spawn_local(stay);
            }
        }
        Ok(crowd)
    }

    async fn flood(&self, count: usize) -> Result<(flood::Refusals, Duration)> {
        let began = Instant::now();
        let refusals = flood::run(&self.clients, count).await?;
        Ok((refusals, began.elapsed()))
    }

    fn check(&mut self, (refusals, flood): (flood::Refusals, Duration)) -> Result<Report> {
        if let Some(ended) = self.endless.try_join_next() {
            ended??;
        }
        let open = self.idle.iter().filter(|idle| idle.is_open()).count();
        ensure!(
            open == self.idle.len(),
            "{} that wait were closed",
            self.idle.len() - open
        );
        Ok(Report {
            idle: open,
            refused: [
                refusals.answered.get(),
                refusals.closed.get(),
                refusals.left.get(),
            ],
            flood,
            slow: self.slow.sum_up(),
            handshakes: self.handshakes.sum_up(),
        })
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [answered, closed, left] = self.refused;
        writeln!(f, "{} connections wait, and are open at the end", self.idle)?;
        writeln!(
            f,
            "{} bad requests in {:.1?}: {answered} were answered, {closed} closed, {left} went away",
            answered + closed + left,
            self.flood,
        )?;
        let (ended, shortest, longest) = self.slow;
        writeln!(
            f,
            "slow clients were ended {ended} times, after {shortest:.1?} to {longest:.1?}"
        )?;
        let (ended, shortest, longest) = self.handshakes;
        write!(
            f,
            "unfinished handshakes {ended} times, after {shortest:.1?} to {longest:.1?}"
        )
    }
}

fn show(what: &str, turns: &[Outcome], alone: &[Outcome]) {
    let of = |turns: &[Outcome], percent| {
        let each = turns
            .iter()
            .map(|turn| turn.latencies.percentile(percent).as_secs_f64() * 1e3);
        median(each.collect())
    };
    let requests: usize = turns.iter().map(|turn| turn.requests).sum();
    println!(
        "{what:<36} {requests:>6} requests, none failed; p50 {:>6.2} ms, p99 {:>6.2} ms, {:.2} of that alone",
        of(turns, 50),
        of(turns, 99),
        of(turns, 99) / of(alone, 99),
    );
}

fn configuration(programs: &Programs, plan: &Plan) -> String {
    let (timeout, upstream) = (plan.timeout, programs.upstream());
    let http = "http: { idle_timeout: 1h";
    let routes = "routes: [{ match: { prefix: / }, cluster: web }]";
    format!(
        "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n\
         - name: plain\n  address: 127.0.0.1:0\n  \
         {http}, request_headers_timeout: {timeout}s }}\n  {routes}\n\
         - name: tls\n  address: 127.0.0.1:0\n  {http} }}\n  {routes}\n  \
         tls: {{ certificates: [{{ cert: edge.pem, key: edge.key }}], \
         handshake_timeout: {timeout}s }}\n\
         clusters: [{{ name: web, endpoints: [\"{upstream}\"] }}]\n"
    )
}
