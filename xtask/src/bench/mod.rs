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
use self::machine::Awake;
use self::report::Report;
use self::scenario::{CHAINS, Filters, Kind, SCENARIOS, Scenario};
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
    let awake = Awake::new();
    let mut machine = machine::describe()?;
    machine["idle states"] = json!(awake.describe());
    let mut report = if extent.save {
        Report::with_earlier(machine)?
    } else {
        Report::new(machine)
    };
    let upstream = Upstream::start()?;
    // What one more filter adds is small beside what a noisy machine does in the time
    // between two scenarios.
    let chosen = SCENARIOS.iter().filter(|scenario| extent.has(scenario));
    let (chains, others): (Vec<&Scenario>, Vec<_>) =
        chosen.partition(|scenario| scenario.is_chain());
    let groups = [chains].into_iter().filter(|chains| !chains.is_empty());
    for group in groups.chain(others.into_iter().map(|scenario| vec![scenario])) {
        let titles: Vec<_> = group.iter().map(|scenario| scenario.title).collect();
        let subjects = step(&titles.join(", "), || {
            measure_group(&group, extent, &upstream)
        })?;
        for scenario in group {
            let of_this = subjects.iter().filter(|s| s.scenario.name == scenario.name);
            report.add(
                scenario.name,
                result(scenario, extent, &of_this.collect::<Vec<_>>()),
            );
        }
        for ((shorter, few), (longer, many)) in CHAINS.into_iter().zip(CHAINS.into_iter().skip(1)) {
            if let Some(added) = added(&subjects, [shorter, longer], many - few) {
                report.add_one_more(few, many, added);
            }
        }
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

/// A proxy in a scenario, and what was measured of it.
struct Subject {
    scenario: &'static Scenario,
    kind: Kind,
    samples: Samples,
    /// Requests a second of the open loop.
    rate: Option<u32>,
}

/// Measures all proxies of these scenarios in turn.
fn measure_group(
    group: &[&'static Scenario],
    extent: &Extent,
    upstream: &Upstream,
) -> Result<Vec<Subject>> {
    let subjects = group.iter().flat_map(|&scenario| {
        let of = move |&kind| Subject {
            scenario,
            kind,
            samples: Samples::default(),
            rate: None,
        };
        scenario.kinds.iter().map(of)
    });
    let mut subjects: Vec<_> = subjects.collect();
    for _ in 0..extent.starts {
        let start = |s: &Subject| Server::start(s.kind, s.scenario, upstream.address());
        let servers = subjects.iter().map(start).collect::<Result<Vec<_>>>()?;
        for (server, subject) in servers.iter().zip(&mut subjects) {
            subject.samples.start(server.start);
            // Warms up.
            load::closed(subject.scenario, server.address(), 1)?;
        }
        for number in turns(extent.rounds, subjects.len()) {
            let (server, subject) = (&servers[number], &mut subjects[number]);
            let scenario = subject.scenario;
            let cpu_time = server.cpu_time()?;
            let load = disturbed(server, scenario, || {
                load::closed(scenario, server.address(), extent.seconds)
            })?;
            let spent = server.cpu_time()? - cpu_time;
            subject.samples.closed(&load, spent);
            check(scenario, server, load.requests, load.failed)?;
        }
        // All starts are asked at the same pace.
        if subjects.iter().all(|subject| subject.rate.is_none()) {
            for number in 0..subjects.len() {
                subjects[number].rate = pace(&subjects, subjects[number].scenario);
            }
        }
        for number in turns(extent.rounds, subjects.len()) {
            let (server, subject) = (&servers[number], &mut subjects[number]);
            let scenario = subject.scenario;
            let Some(rate) = subject.rate else {
                continue;
            };
            let paced = disturbed(server, scenario, || {
                load::paced(scenario, server.address(), rate, extent.seconds)
            })?;
            subject.samples.paced(&paced);
            check(scenario, server, paced.requests, paced.failed)?;
        }
        for (server, subject) in servers.iter().zip(&mut subjects) {
            subject.samples.memory(server.memory()?);
        }
    }
    Ok(subjects)
}

/// What came of one scenario. Of each proxy beside Weir, also what Weir takes of what it
/// takes, turn by turn.
fn result(scenario: &Scenario, extent: &Extent, subjects: &[&Subject]) -> Value {
    let weir = subjects.iter().find(|subject| subject.kind == Kind::Weir);
    let proxies = subjects.iter().map(|subject| {
        let mut figures = subject.samples.to_json();
        if let Some(weir) = weir.filter(|_| subject.kind != Kind::Weir) {
            let ratios = (weir.samples).beside(&subject.samples, |weir, other| weir / other);
            figures["weir_ratio"] = ratios;
        }
        (subject.kind.name().to_owned(), figures)
    });
    json!({
        "title": scenario.title,
        "date": output_of(Command::new("date").args(["-u", "+%F"])).unwrap_or_default(),
        "starts": extent.starts,
        "rounds": extent.rounds,
        "seconds": extent.seconds,
        "paced_requests_per_second": subjects.first().and_then(|subject| subject.rate),
        "proxies": Value::Object(proxies.collect()),
    })
}

/// What each of `more` filters adds that the longer one of two chains has, by proxy; turn
/// by turn, if both were measured.
fn added(subjects: &[Subject], chains: [&str; 2], more: usize) -> Option<Value> {
    let proxies = [Kind::Weir, Kind::Envoy].into_iter().map(|kind| {
        let of = |name| {
            let mut subjects = subjects.iter();
            subjects.find(|s| s.kind == kind && s.scenario.name == name)
        };
        let [shorter, longer] = [of(chains[0])?, of(chains[1])?];
        let added = |many: f64, few: f64| (many - few) / more as f64;
        let added = longer.samples.beside(&shorter.samples, added);
        Some((kind.name().to_owned(), added))
    });
    Some(Value::Object(proxies.collect::<Option<_>>()?))
}

/// Whose turn it is: each once a round, and another one first in each.
fn turns(rounds: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..rounds).flat_map(move |round| (0..count).map(move |turn| (round + turn) % count))
}

/// Requests a second of the open loop in `scenario`, which speaks HTTP/1.
fn pace(subjects: &[Subject], scenario: &Scenario) -> Option<u32> {
    if scenario.http2 {
        return None;
    }
    let with_filters = subjects
        .iter()
        .filter(|subject| subject.scenario.name == scenario.name && subject.kind != Kind::Nginx);
    let rates = with_filters.map(|subject| subject.samples.median(&RATE));
    let slower = rates.fold(f64::INFINITY, f64::min);
    Some((PACE * slower).max(1.0) as u32)
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
