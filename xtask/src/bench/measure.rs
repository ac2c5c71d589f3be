//! Measures proxies in turn.

use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Extent;
use super::figures::{RATE, Samples};
use super::load::{self, Upstream};
use super::machine::{self, Awake};
use super::report::Report;
use super::scenario::{Extension, Kind, SCENARIOS, Scenario, extensions};
use super::server::Server;
use crate::process::output_of;
use crate::progress::step;

/// What the open loop asks for, of what the slower one of those with filters can do.
const PACE: f64 = 0.7;

/// Between two configurations.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn measure(extent: &Extent) -> Result<()> {
    let awake = Awake::new();
    let mut machine = machine::describe()?;
    machine["idle states"] = json!(awake.describe());
    let mut report = if extent.save {
        Report::with_earlier(machine)?
    } else {
        Report::new(machine)
    };
    let upstream = Upstream::start()?;
    let chosen = SCENARIOS.iter().filter(|scenario| extent.has(scenario));
    let (chains, others): (Vec<&Scenario>, Vec<_>) =
        chosen.partition(|scenario| scenario.is_chain());
    let chains = (!chains.is_empty()).then_some(chains);
    let others = others.into_iter().map(|scenario| vec![scenario]);
    for group in chains.into_iter().chain(others) {
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
        for extension in extensions() {
            if let Some(added) = one_more(&subjects, &extension) {
                report.add_one_more(&extension, added);
            }
        }
        if extent.save {
            report.save()?;
        }
    }
    println!("{}", report.tables());
    println!(
        "Medians of {} starts with {} rounds each (lowest-highest); of ratios, those of the rounds.\n\
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

/// What each filter adds that the longer one of two chains has more, by proxy; turn by
/// turn, if both were measured.
fn one_more(subjects: &[Subject], extension: &Extension) -> Option<Value> {
    let proxies = [Kind::Weir, Kind::Envoy].into_iter().map(|kind| {
        let of = |name| {
            let mut subjects = subjects.iter();
            subjects.find(|s| s.kind == kind && s.scenario.name == name)
        };
        let [shorter, longer] = [of(extension.chains[0])?, of(extension.chains[1])?];
        let added = extension.added() as f64;
        let each = (longer.samples).beside(&shorter.samples, |many, few| (many - few) / added);
        Some((kind.name().to_owned(), each))
    });
    Some(Value::Object(proxies.collect::<Option<_>>()?))
}

/// Whose turn it is: each once a round, in every other one the last first. So those that
/// are compared with each other stay as close together as they are listed.
pub(super) fn turns(rounds: usize, count: usize) -> impl Iterator<Item = usize> {
    let turn = move |round, place| {
        if round % 2 == 0 {
            place
        } else {
            count - 1 - place
        }
    };
    (0..rounds).flat_map(move |round| (0..count).map(move |place| turn(round, place)))
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

pub(super) fn check(
    scenario: &Scenario,
    server: &Server,
    requests: u64,
    failed: u64,
) -> Result<()> {
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
    fn each_has_its_turn_and_the_first_is_last_in_every_other_round() {
        assert_eq!(turns(3, 2).collect::<Vec<_>>(), [0, 1, 1, 0, 0, 1]);
        assert_eq!(turns(2, 3).collect::<Vec<_>>(), [0, 1, 2, 2, 1, 0]);
    }
}
