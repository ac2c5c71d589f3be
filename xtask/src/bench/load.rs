//! The two ends of the load: programs of the package weir-benches.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::layout;
use crate::process::output_of;

fn program() -> PathBuf {
    layout::root().join("target/release/weir-load")
}

/// The upstream; killed when dropped. It ends with its standard input, so that
/// it does not outlive this program however that ends.
pub(super) struct Upstream {
    child: Child,
    address: SocketAddr,
}

impl Upstream {
    pub(super) fn start() -> Result<Self> {
        let mut child = Command::new(program())
            .arg("upstream")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the upstream")?;
        let mut line = String::new();
        if let Some(output) = &mut child.stdout {
            BufReader::new(output).read_line(&mut line)?;
        }
        // Made first: an upstream that says something else is to be killed too.
        let mut upstream = Self {
            child,
            address: SocketAddr::from(([0; 4], 0)),
        };
        upstream.address = line.trim().parse().context("the upstream has no address")?;
        Ok(upstream)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a load.
pub(super) struct Load {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) elapsed: Duration,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Load {
    pub(super) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Reads the line that the load generator prints: `name=number`, times in
    /// microseconds.
    fn parse(line: &str) -> Option<Self> {
        let number = |name: &str| {
            let mut pairs = line.split_whitespace().filter_map(|w| w.split_once('='));
            let (_, number) = pairs.find(|(n, _)| *n == name)?;
            number.parse::<u64>().ok()
        };
        let time = |name: &str| number(name).map(Duration::from_micros);
        Some(Self {
            requests: number("requests")?,
            errors: number("errors")?,
            elapsed: time("elapsed")?,
            p50: time("p50")?,
            p99: time("p99")?,
        })
    }
}

/// Loads `address` for a while; ends by itself.
pub(super) fn run(address: SocketAddr, seconds: u64) -> Result<Load> {
    let mut command = Command::new(program());
    command.args(["run", &address.to_string(), "--seconds"]);
    let line = output_of(command.arg(seconds.to_string()));
    line.and_then(|line| Load::parse(&line))
        .context("the load generator failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_the_load_generator_is_read() {
        let line = "requests=3000 errors=1 elapsed=1500000 p50=40 p99=90";
        let load = Load::parse(line).unwrap();
        assert_eq!((load.requests, load.errors), (3000, 1));
        assert_eq!(load.requests_per_second(), 2000.0);
        assert_eq!(load.p99, Duration::from_micros(90));
        assert!(Load::parse("requests=3000").is_none());
    }
}
