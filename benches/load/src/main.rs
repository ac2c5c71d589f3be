//! The two ends of the load bench: `weir-load upstream` answers, `weir-load run`
//! asks. Both are meant to be started by `cargo xtask bench`, and end by
//! themselves when it is gone.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use weir_load::open::{self, Schedule};
use weir_load::upstream;

/// An open-loop load generator for HTTP/1.1, and an upstream.
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
    Upstream {
        /// Where to answer.
        #[arg(long, default_value = "127.0.0.1:0")]
        address: SocketAddr,
    },
    /// Send requests to a server at a fixed pace and print what came of it, times in
    /// microseconds, from when a request was to be sent.
    Ask(Ask),
}

#[derive(Args)]
struct Ask {
    /// Address of the server.
    address: SocketAddr,
    /// Requests a second.
    #[arg(long)]
    rate: u32,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long to ask.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// What is asked for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Bytes of body of a request; with any, it is a POST.
    #[arg(long, default_value_t = 0)]
    body: usize,
    /// A header of each request, beside `host`, as `name: value`.
    #[arg(long)]
    header: Vec<String>,
}

impl Ask {
    fn request(&self) -> Vec<u8> {
        let method = if self.body > 0 { "POST" } else { "GET" };
        let mut head = format!("{method} {} HTTP/1.1\r\nhost: localhost\r\n", self.path);
        for header in &self.header {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if self.body > 0 {
            head.push_str(&format!("content-length: {}\r\n", self.body));
        }
        head.push_str("\r\n");
        [head.into_bytes(), vec![b'a'; self.body]].concat()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    match Cli::parse().command {
        Command::Upstream { address } => answer_until_input_ends(address),
        Command::Ask(ask) => {
            let outcome = open::run(&Schedule {
                address: ask.address,
                rate: ask.rate,
                connections: ask.connections,
                duration: Duration::from_secs(ask.seconds),
                request: ask.request(),
            })?;
            println!(
                "requests={} errors={} elapsed={} p50={} p99={} p999={}",
                outcome.requests,
                outcome.errors,
                outcome.elapsed.as_micros(),
                outcome.latencies.percentile(50).as_micros(),
                outcome.latencies.percentile(99).as_micros(),
                outcome.latencies.per_mille(999).as_micros(),
            );
            Ok(())
        }
    }
}

fn answer_until_input_ends(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = std::net::TcpListener::bind(address)?;
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
