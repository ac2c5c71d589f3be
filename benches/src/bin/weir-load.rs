//! The two ends of the load bench: `weir-load upstream` answers, `weir-load run`
//! asks. Both are meant to be started by `cargo xtask bench`, and end by
//! themselves when it is gone.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clap::{Parser, Subcommand};
use weir_benches::load::{self, Plan, upstream};

/// A closed-loop load generator for HTTP/1.1, and an upstream.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print an address and answer every request to it, until standard input
    /// ends.
    Upstream,
    /// Send requests to a server and print what came of it, times in
    /// microseconds.
    Run {
        /// Address of the server.
        address: SocketAddr,
        /// Connections, each with one request under way.
        #[arg(long, default_value_t = 16)]
        connections: usize,
        /// How long to ask.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Requests after which to stop even earlier.
        #[arg(long, default_value_t = 5_000_000)]
        requests_max: usize,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Cli::parse().command {
        Command::Upstream => answer_until_input_ends(),
        Command::Run {
            address,
            connections,
            seconds,
            requests_max,
        } => {
            let outcome = load::run(&Plan {
                address,
                connections,
                duration: Duration::from_secs(seconds),
                requests_max,
                headers: "",
                pace: Duration::ZERO,
            })?;
            println!(
                "requests={} errors={} elapsed={} p50={} p99={}",
                outcome.requests,
                outcome.errors,
                outcome.elapsed.as_micros(),
                outcome.latencies.percentile(50).as_micros(),
                outcome.latencies.percentile(99).as_micros(),
            );
            Ok(())
        }
    }
}

fn answer_until_input_ends() -> Result<(), Box<dyn Error>> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let served = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => upstream::serve(listener).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                eprintln!("error: {error}");
            }
        });
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
