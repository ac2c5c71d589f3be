//! `cargo xtask bench`: Weir beside Envoy and nginx.
//!
//! Each scenario has the proxies started side by side, with one worker each, on the same
//! core; load and upstream have another. They are loaded in turn, round after round:
//! what slows the machine down for a while slows all of them down, so their ratios hold
//! where their figures do not. All of it is done over with processes started anew, as
//! where things come to lie in memory makes a difference too.

mod config;
pub(crate) mod discovery;
mod figures;
mod load;
mod machine;
mod plot;
mod report;
mod scenario;
mod server;
pub(crate) mod sidecars;

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use self::figures::{RATE, Samples};
use self::load::Upstream;
use self::report::Report;
use self::scenario::{Filters, Kind, SCENARIOS, Scenario};
use self::server::Server;
use crate::process::{self, output_of};
use crate::progress::step;
use crate::{debian, envoy, filters, guests, workspace};

/// Where the proxy that is measured runs, and where the rest.
const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// What the open loop asks for, of what the slower one of those with filters can do.
const PACE: f64 = 0.7;

/// Between two configurations.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

const LOAD_PACKAGES: [&str; 2] = ["nghttp2-client", "wrk"];
const PACKAGES: [&str; 1] = ["nginx"];

/// How long a Weir that is trained does what a scenario asks for.
const TRAINING_SECONDS: u64 = 3;

const MICRO: [&str; 4] = ["bench", "--workspace", "--bench", "micro"];

/// What to measure and how long.
struct Extent {
    /// Times that the processes are started.
    starts: usize,
    /// Of each start.
    rounds: usize,
    /// For each proxy and each load in each round.
    seconds: u64,
    only: Vec<String>,
    /// Whether the document gets the results.
    save: bool,
    micro: bool,
}

impl Extent {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut extent = Self {
            starts: 3,
            rounds: 3,
            seconds: 4,
            only: Vec::new(),
            save: false,
            micro: true,
        };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .with_context(|| format!("{argument} of what?"))
            };
            let number = |text: &str| {
                let number = text.parse().ok().filter(|&number: &usize| number > 0);
                number.with_context(|| format!("{argument} {text}: not a number from 1"))
            };
            match argument {
                "--quick" => {
                    (extent.starts, extent.rounds, extent.seconds) = (1, 3, 1);
                    extent.micro = false;
                }
                "--only" => {
                    extent.only.push((*value()?).to_owned());
                    extent.micro = false;
                }
                "--starts" => extent.starts = number(value()?)?,
                "--rounds" => extent.rounds = number(value()?)?,
                "--seconds" => extent.seconds = number(value()?)? as u64,
                "--save" => extent.save = true,
                "--weir" => server::give(value()?),
                other => bail!("bench has no {other}"),
            }
        }
        for name in &extent.only {
            let names = SCENARIOS.map(|scenario| scenario.name);
            ensure!(
                names.contains(&name.as_str()),
                "there is no scenario {name}; there are {}",
                names.join(", ")
            );
        }
        Ok(extent)
    }

    fn has(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario.name)
    }
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let extent = Extent::parse(arguments)?;
    prepare()?;
    debian::install(&PACKAGES)?;
    envoy::find()?;
    build()?;
    measure(&extent)?;
    if !extent.micro {
        println!("\nMicro benches of the host: cargo {}", MICRO.join(" "));
        return Ok(());
    }
    step("micro benches of the host", || {
        process::run(&mut workspace::cargo(&MICRO)?)
    })
}

/// Gets what every load takes.
fn prepare() -> Result<()> {
    ensure!(
        thread::available_parallelism()?.get() >= 2,
        "the proxy and the load need a core each"
    );
    debian::install(&LOAD_PACKAGES)?;
    filters::run()?;
    guests::build_bench()
}

/// Gets what [`train`] takes.
///
/// # Errors
/// Something is missing that cannot be got.
pub(crate) fn prepare_training() -> Result<()> {
    prepare()?;
    step("building the load generator", || {
        let build = ["build", "--profile", "bench", "--package", "weir-load"];
        process::build(&mut workspace::cargo(&build)?)
    })
}

/// Has a Weir do what it does in the scenarios that measure one where all is well.
///
/// # Errors
/// It does not do it, or does not end well.
pub(crate) fn train(program: &Path) -> Result<()> {
    server::give(&program.display().to_string());
    let upstream = Upstream::start()?;
    let scenarios = SCENARIOS.iter().filter(|scenario| {
        // Many modules are many times the same, and other configurations are read once.
        !scenario.fails && !scenario.reloads && !matches!(scenario.filters, Filters::Distinct(_))
    });
    for scenario in scenarios {
        step(&format!("under load: {}", scenario.title), || {
            // Else more is counted of the compiler of modules than of all requests.
            let server = Server::start_cached(scenario, upstream.address())?;
            let load = load::closed(scenario, server.address(), TRAINING_SECONDS)?;
            check(scenario, &server, load.requests, load.failed)?;
            server.end()
        })?;
    }
    Ok(())
}

fn build() -> Result<()> {
    step("building weir and the load generator, optimised", || {
        let mut build = workspace::cargo(&["build", "--profile", "bench", "--workspace"])?;
        if !server::is_given() {
            build.args(["--bin", "weir"]);
        }
        process::build(build.args(["--bin", "weir-load"]))
    })
}

fn measure(extent: &Extent) -> Result<()> {
    let machine = machine::describe()?;
    let mut report = if extent.save {
        Report::with_earlier(machine)?
    } else {
        Report::new(machine)
    };
    let upstream = Upstream::start()?;
    for scenario in SCENARIOS.iter().filter(|scenario| extent.has(scenario)) {
        let result = step(scenario.title, || measure_one(scenario, extent, &upstream))?;
        report.add(scenario.name, result);
        if extent.save {
            report.save()?;
        }
    }
    println!("{}", report.tables());
    println!(
        "Medians of {} starts with {} rounds each (lowest-highest).\n\
         Figures compare within this run only: not with another day, not with another machine.",
        extent.starts, extent.rounds,
    );
    Ok(())
}

fn measure_one(scenario: &'static Scenario, extent: &Extent, upstream: &Upstream) -> Result<Value> {
    let kinds = scenario.kinds;
    let mut samples: Vec<_> = kinds.iter().map(|_| Samples::default()).collect();
    let mut rate = None;
    for _ in 0..extent.starts {
        let start = |&kind| Server::start(kind, scenario, upstream.address());
        let servers = kinds.iter().map(start).collect::<Result<Vec<_>>>()?;
        for (server, samples) in servers.iter().zip(&mut samples) {
            samples.start(server.start);
            // Warms up.
            load::closed(scenario, server.address(), 1)?;
        }
        for number in turns(extent.rounds, kinds.len()) {
            let (server, samples) = (&servers[number], &mut samples[number]);
            let cpu_time = server.cpu_time()?;
            let load = disturbed(server, scenario, || {
                load::closed(scenario, server.address(), extent.seconds)
            })?;
            samples.closed(&load, server.cpu_time()? - cpu_time);
            check(scenario, server, load.requests, load.failed)?;
        }
        // The open loop speaks HTTP/1.
        if !scenario.http2 {
            // All starts are asked at the same pace.
            let rate = *rate.get_or_insert_with(|| pace(kinds, &samples));
            for number in turns(extent.rounds, kinds.len()) {
                let (server, samples) = (&servers[number], &mut samples[number]);
                let paced = disturbed(server, scenario, || {
                    load::paced(scenario, server.address(), rate, extent.seconds)
                })?;
                samples.paced(&paced);
                check(scenario, server, paced.requests, paced.failed)?;
            }
        }
        for (server, samples) in servers.iter().zip(&mut samples) {
            samples.memory(server.memory()?);
        }
    }
    let proxies = kinds.iter().zip(&samples);
    let proxies = proxies.map(|(kind, samples)| (kind.name().to_owned(), samples.to_json()));
    Ok(json!({
        "title": scenario.title,
        "date": output_of(Command::new("date").args(["-u", "+%F"])).unwrap_or_default(),
        "starts": extent.starts,
        "rounds": extent.rounds,
        "seconds": extent.seconds,
        "paced_requests_per_second": rate,
        "proxies": Value::Object(proxies.collect()),
    }))
}

/// Whose turn it is: each once a round, and another one first in each.
fn turns(rounds: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..rounds).flat_map(move |round| (0..count).map(move |turn| (round + turn) % count))
}

/// Requests a second of the open loop.
fn pace(kinds: &[Kind], samples: &[Samples]) -> u32 {
    let with_filters = kinds
        .iter()
        .zip(samples)
        .filter(|(kind, _)| **kind != Kind::Nginx);
    let rates = with_filters.map(|(_, samples)| samples.median(&RATE));
    let slower = rates.fold(f64::INFINITY, f64::min);
    (PACE * slower).max(1.0) as u32
}

/// Loads a server, which meanwhile gets one configuration after the other if that is
/// the scenario.
fn disturbed<T>(
    server: &Server,
    scenario: &Scenario,
    load: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if !scenario.reloads {
        return load();
    }
    thread::scope(|scope| {
        let (over, is_over) = mpsc::channel::<()>();
        let reloading = scope.spawn(move || {
            for revision in 1.. {
                server.reload(revision)?;
                let waited = is_over.recv_timeout(RELOAD_INTERVAL);
                if waited != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            Ok::<_, anyhow::Error>(())
        });
        let loaded = load();
        drop(over);
        let reloaded = reloading.join();
        reloaded.map_err(|_| anyhow::anyhow!("the reloads have panicked"))??;
        loaded
    })
}

fn check(scenario: &Scenario, server: &Server, requests: u64, failed: u64) -> Result<()> {
    let serves = requests > 0 && (failed == 0 || scenario.reloads);
    ensure!(
        serves || (scenario.fails && requests + failed > 0),
        "`{}` served {requests} requests and failed {failed}; the log is {}",
        scenario.name,
        server.log().display(),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_and_another_one_is_first() {
        assert_eq!(turns(3, 2).collect::<Vec<_>>(), [0, 1, 1, 0, 0, 1]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |arguments: &[&str]| Extent::parse(arguments).err().unwrap().to_string();
        assert!(refused(&["--only", "plane"]).starts_with("there is no scenario plane; "));
        assert_eq!(
            refused(&["--rounds", "0"]),
            "--rounds 0: not a number from 1"
        );
        assert_eq!(refused(&["--only"]), "--only of what?");
        assert_eq!(refused(&["--fast"]), "bench has no --fast");
        let some = Extent::parse(&["--only", "plain", "--only", "hello"]).unwrap();
        let chosen = SCENARIOS.iter().filter(|scenario| some.has(scenario));
        assert_eq!(chosen.count(), 2);
    }
}
