//! `cargo xtask bench`: Weir beside Envoy and nginx.
//!
//! Each scenario has the proxies started side by side, with one worker each, on the same
//! core; load and upstream have another. They are loaded in turn, round after round:
//! what slows the machine down for a while slows all of them down, so their ratios hold
//! where their figures do not. The chains of hello filters are started and loaded beside
//! each other too: what one filter more adds is small. All of it is done over with
//! processes started anew, as where things come to lie in memory makes a difference too.

mod config;
pub(crate) mod discovery;
mod figures;
mod load;
mod machine;
mod measure;
mod plot;
mod report;
mod scenario;
mod server;
pub(crate) mod sidecars;

use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use self::load::Upstream;
use self::measure::{check, measure};
use self::scenario::{Filters, SCENARIOS, Scenario};
use self::server::Server;
use crate::process;
use crate::progress::step;
use crate::{debian, envoy, filters, guests, workspace};

/// Where the proxy that is measured runs, and where the rest.
const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";

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

#[cfg(test)]
mod tests {
    use super::*;

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
