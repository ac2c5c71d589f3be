//! `weir-chaos`: a filter that loops, leaks, traps and lies, beside filters that do
//! their work; and clients and endpoints that are as bad.
//!
//! What is measured is what the others notice. Only what must hold on any machine
//! makes a run fail: that no healthy request fails, that memory does not grow, that
//! a crash loop is one.

#![forbid(unsafe_code)]

mod connections;
mod gateway;
mod healthy;
mod isolation;
mod leaks;
mod recovery;
mod reloads;
mod swap;
mod upstreams;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs Weir with filters, clients and endpoints that misbehave.
#[derive(Parser)]
struct Arguments {
    /// The program.
    #[arg(long)]
    weir: PathBuf,
    /// The module of the filter hello.
    #[arg(long)]
    hello: PathBuf,
    /// Envoy's program, to be put to the same tests.
    #[arg(long)]
    envoy: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Healthy requests, with and without chaos on another route of their workers.
    Healthy {
        /// Rounds, in each of which each kind has its turn.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Seconds of each turn.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Requests that each leave a KiB behind in the guest.
    Leaks {
        /// Requests.
        #[arg(long, default_value_t = 1_000_000)]
        count: usize,
    },
    /// How long the request after a trap takes.
    Recovery {
        /// Traps.
        #[arg(long, default_value_t = 2000)]
        count: usize,
    },
    /// Reloads of every kind, while connections that stay open are served.
    Reloads {
        /// Reloads.
        #[arg(long, default_value_t = 200)]
        count: usize,
        /// Seconds over which they are spread.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Reloads of the code of many filters, one after the other, under load.
    Swap {
        /// Filters in the chain, each with code of its own.
        #[arg(long, default_value_t = 20)]
        modules: usize,
        /// Rounds, each without reloads and with them.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Seconds of each turn.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// Connections that wait, that are slow, and that are bad, beside healthy ones.
    Connections(connections::Plan),
    /// One of three endpoints fails under load, and comes back.
    Upstreams(upstreams::Plan),
    /// What it costs that no stream shares an instance with another.
    Isolation {
        /// Rounds, in each of which each kind has its turn.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds of each turn.
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    let Arguments {
        weir,
        hello,
        envoy,
        command,
    } = Arguments::parse();
    let result = gateway::Programs::new(weir, &hello).and_then(|programs| match command {
        Command::Healthy { rounds, seconds } => healthy::run(&programs, rounds, seconds),
        Command::Leaks { count } => leaks::run(&programs, count),
        Command::Recovery { count } => recovery::run(&programs, count),
        Command::Reloads { count, seconds } => reloads::run(&programs, count, seconds),
        Command::Swap {
            modules,
            rounds,
            seconds,
        } => swap::run(&programs, modules, rounds, seconds),
        Command::Connections(plan) => connections::run(&programs, &plan, envoy.as_deref()),
        Command::Upstreams(plan) => upstreams::run(&programs, &plan, envoy.as_deref()),
        Command::Isolation { rounds, seconds } => isolation::run(&programs, rounds, seconds),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
