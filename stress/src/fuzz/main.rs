//! `weir-fuzz`: the host against hostile guests, modules and bytes.
//!
//! All that happens follows from a seed and the number of a round, which stand
//! in the report of a failure: `--seed S --round N` plays that round again.

#![forbid(unsafe_code)]

mod guest;
mod hostcalls;
mod memory;
mod modules;
mod script;
mod watch;
mod wire;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use weir_stress::Random;

use crate::watch::Watch;

/// Fuzzes Weir's host.
#[derive(Parser)]
struct Arguments {
    /// How long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What all that happens follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plays one round only.
    #[arg(long)]
    round: Option<u64>,
}

/// What a round may be about: one of the parts, in turn.
struct Part {
    name: &'static str,
    /// Rounds of a hundred.
    share: u64,
    play: fn(&Stage, &mut Random) -> Result<(), String>,
}

/// What is made once.
struct Stage {
    guests: guest::Guests,
}

const PARTS: [Part; 3] = [
    Part {
        name: "hostcalls",
        share: 70,
        play: |stage, random| hostcalls::play(&stage.guests, random),
    },
    Part {
        name: "modules",
        share: 20,
        play: |_, random| modules::play(random),
    },
    Part {
        name: "bytes",
        share: 10,
        play: |_, random| wire::play(random),
    },
];

fn part(round: u64) -> &'static Part {
    let mut at = round % 100;
    let found = PARTS.iter().find(|part| {
        let found = at < part.share;
        at = at.saturating_sub(part.share);
        found
    });
    found.unwrap_or(&PARTS[0])
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let watch = Watch::start();
    let guests = match guest::Guests::build() {
        Ok(guests) => guests,
        Err(reason) => {
            eprintln!("the guest of the fuzzer cannot be built: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let stage = Stage { guests };
    let rounds = match arguments.round {
        Some(round) => round..round + 1,
        None => 0..u64::MAX,
    };
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let (mut played, mut memory) = ([0_u64; 3], memory::Bound::new());
    for round in rounds {
        if Instant::now() >= end && arguments.round.is_none() {
            break;
        }
        let part = part(round);
        let what = format!(
            "{}: `weir-fuzz --seed {} --round {round}`",
            part.name, arguments.seed
        );
        watch.begin(&what);
        let mut random = Random::new(arguments.seed, round);
        let played_out = (part.play)(&stage, &mut random);
        // Told first: it is the cause of what else there is.
        let outcome = watch
            .panic()
            .map_or(Ok(()), Err)
            .and(played_out)
            .and_then(|()| memory.check());
        watch.end();
        if let Err(reason) = outcome {
            eprintln!("failed in {what}\n{reason}");
            return ExitCode::FAILURE;
        }
        if let Some(index) = PARTS.iter().position(|p| p.name == part.name) {
            played[index] += 1;
        }
    }
    println!(
        "seed {}: {} rounds of hostcalls ({} calls), {} of modules, {} of bytes; memory: {memory}",
        arguments.seed,
        played[0],
        stage.guests.calls(),
        played[1],
        played[2],
    );
    ExitCode::SUCCESS
}
