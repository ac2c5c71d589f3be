//! `cargo xtask bench`: what filters cost a proxied request.
//!
//! A Weir of one worker for each scenario, all in front of one upstream, are
//! loaded in turn, round after round: what slows the machine down for a while
//! slows all of them down, so their ratios hold where their figures do not.

mod load;
mod table;
mod weir;

use anyhow::{Result, ensure};

use self::load::{Load, Upstream};
use self::table::Sample;
use self::weir::Weir;
use crate::process::{self, cargo};
use crate::progress::step;
use crate::{filters, layout};

/// A proxy that is measured: its name, and how many times hello is in its chain.
const SCENARIOS: [(&str, usize); 3] = [
    ("no filter", 0),
    ("1 header filter", 1),
    ("5 header filters", 5),
];

/// How long to measure.
struct Extent {
    rounds: usize,
    /// For each scenario in each round.
    seconds: u64,
}

const QUICK: Extent = Extent {
    rounds: 3,
    seconds: 2,
};

const FULL: Extent = Extent {
    rounds: 7,
    seconds: 5,
};

const MICRO: [&str; 4] = ["bench", "--workspace", "--bench", "micro"];

pub(crate) fn run(quick: bool) -> Result<()> {
    build()?;
    measure(if quick { &QUICK } else { &FULL })?;
    if quick {
        println!("\nMicro benches of the host: cargo {}", MICRO.join(" "));
        return Ok(());
    }
    step("micro benches of the host", || {
        process::run(cargo().current_dir(layout::root()).args(MICRO))
    })
}

fn build() -> Result<()> {
    if !weir::filter().exists() {
        filters::run()?;
    }
    step("building weir and the load generator, optimised", || {
        // The whole workspace: fewer packages would have other features, and
        // everything would be built once more.
        let arguments = ["build", "--release", "--workspace", "--bins"];
        process::build(cargo().current_dir(layout::root()).args(arguments))
    })
}

fn measure(extent: &Extent) -> Result<()> {
    let upstream = Upstream::start()?;
    let proxies = step("starting the proxies", || {
        let start = |(name, filters)| Weir::start(name, filters, upstream.address());
        SCENARIOS.into_iter().map(start).collect::<Result<Vec<_>>>()
    })?;
    let Extent { rounds, seconds } = *extent;
    let mut samples: Vec<_> = proxies.iter().map(|_| Vec::new()).collect();
    step(&format!("{rounds} rounds of {seconds} s each"), || {
        for round in 0..=rounds {
            for turn in 0..proxies.len() {
                let number = (round + turn) % proxies.len();
                let sample = sample(&proxies[number], seconds)?;
                // The first round warms up.
                if round > 0 {
                    samples[number].push(sample);
                }
            }
        }
        Ok(())
    })?;
    let alone = load::run(upstream.address(), seconds)?;

    println!();
    table::print(&SCENARIOS.map(|(name, _)| name), &samples);
    println!(
        "\nMedians of {rounds} rounds (lowest-highest), and their ratio to `{}`.\n\
         The load generator without a proxy: {:.0} requests/s.\n\
         Figures compare within this run only: not with another day, not with another machine.",
        SCENARIOS[0].0,
        alone.requests_per_second(),
    );
    Ok(())
}

/// Loads one proxy once.
fn sample(weir: &Weir, seconds: u64) -> Result<Sample> {
    let before = weir.cpu_time()?;
    let load = load::run(weir.address(), seconds)?;
    let cpu_time = weir.cpu_time()? - before;
    let Load {
        requests, errors, ..
    } = load;
    ensure!(
        errors == 0 && requests > 0,
        "`{}` served {requests} requests and failed {errors}; its log is {}",
        weir.name(),
        weir.log().display(),
    );
    Ok(Sample::new(&load, cpu_time))
}
