//! The two ends of the load, on a core of their own: an upstream, and programs that ask.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::LOAD_CORE;
use super::scenario::Scenario;
use crate::layout;
use crate::process::output_of;

/// Headers of each request, as a browser sends them.
pub(super) const HEADERS: [&str; 4] = [
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101",
    "accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "accept-language: en-GB,en;q=0.7",
    "cookie: session=9f86d081884c7d659a2feaa0c55ad015; theme=dark",
];

/// Connections of a closed loop over HTTP/1.
const CONNECTIONS: u32 = 32;
/// Connections of one over HTTP/2, and streams of each.
const CONNECTIONS_HTTP2: u32 = 8;
const STREAMS: u32 = 4;

pub(super) fn program() -> PathBuf {
    layout::root().join("target/release/weir-load")
}

/// A program on the load's core.
fn pinned(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE]).arg(program);
    command
}

/// The upstream; killed when dropped. It ends with its standard input, so that
/// it does not outlive this program however that ends.
pub(super) struct Upstream {
    child: Child,
    address: SocketAddr,
}

impl Upstream {
    pub(super) fn start() -> Result<Self> {
        let mut child = pinned(program())
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
#[derive(Debug, PartialEq)]
pub(super) struct Load {
    /// Those that have been answered, whatever the answer.
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) elapsed: Duration,
}

/// What came of a load that keeps its own pace.
pub(super) struct Paced {
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
}

/// Asks as fast as answers come, by `wrk` or `h2load`.
pub(super) fn closed(scenario: &Scenario, address: SocketAddr, seconds: u64) -> Result<Load> {
    let url = format!("http://{address}{}", scenario.path);
    let (connections, seconds) = (CONNECTIONS.to_string(), seconds.to_string());
    if scenario.http2 {
        let mut command = pinned("h2load");
        command.args(["-t", "1", "-c", &CONNECTIONS_HTTP2.to_string()]);
        command.args(["-m", &STREAMS.to_string(), "-D", &seconds]);
        for header in HEADERS {
            command.args(["-H", header]);
        }
        let text = output_of(command.arg(&url)).context("h2load failed")?;
        return of_h2load(&text).with_context(|| format!("h2load says something else:\n{text}"));
    }
    let mut command = pinned("wrk");
    command.args(["-t", "1", "-c", &connections, "-d", &seconds]);
    for header in HEADERS {
        command.args(["-H", header]);
    }
    if scenario.body > 0 {
        let script = layout::root().join("target/bench/post.lua");
        let body = scenario.body;
        let text = format!("wrk.method = 'POST'\nwrk.body = string.rep('a', {body})\n");
        fs::write(&script, text)?;
        command.arg("-s").arg(script);
    }
    let text = output_of(command.arg(&url)).context("wrk failed")?;
    of_wrk(&text).with_context(|| format!("wrk says something else:\n{text}"))
}

/// Asks at a pace of `rate` a second; latencies begin when a request was to be sent.
pub(super) fn paced(
    scenario: &Scenario,
    address: SocketAddr,
    rate: u32,
    seconds: u64,
) -> Result<Paced> {
    let mut command = pinned(program());
    command.args(["ask", &address.to_string(), "--path", scenario.path]);
    command.args([
        "--rate",
        &rate.to_string(),
        "--seconds",
        &seconds.to_string(),
    ]);
    command.args(["--body", &scenario.body.to_string()]);
    for header in HEADERS {
        command.args(["--header", header]);
    }
    paced_by(&mut command)
}

/// The same, by a command of the load generator's.
pub(super) fn paced_by(command: &mut Command) -> Result<Paced> {
    let line = output_of(command).context("the load generator failed")?;
    of_ask(&line).with_context(|| format!("the load generator says something else: {line}"))
}

/// The number in front of `what`, such as 12 in `12 requests in 5.00s`.
fn in_front<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    let (before, _) = text.split_once(what)?;
    before.split_whitespace().next_back()
}

fn of_wrk(text: &str) -> Option<Load> {
    let answered: u64 = in_front(text, " requests in ")?.parse().ok()?;
    let (_, time) = text.split_once(" requests in ")?;
    let time = time.split(',').next()?;
    let refused = text.split_once("Non-2xx or 3xx responses: ");
    let refused = refused.map_or(Some(0), |(_, number)| {
        number.split_whitespace().next()?.parse().ok()
    })?;
    let broken = text
        .split_once("Socket errors: ")
        .map_or(Some(0), |(_, list)| {
            let numbers = list.lines().next()?.split(", ");
            numbers
                .map(|number| number.split(' ').nth(1)?.parse::<u64>().ok())
                .sum()
        })?;
    Some(Load {
        requests: answered,
        failed: refused + broken,
        elapsed: time_of(time)?,
    })
}

fn of_h2load(text: &str) -> Option<Load> {
    let (_, line) = text.split_once("\nfinished in ")?;
    let elapsed = time_of(line.split(',').next()?)?;
    let (_, line) = text.split_once("\nrequests: ")?;
    let line = line.lines().next()?;
    let number = |what| in_front(line, what)?.parse::<u64>().ok();
    Some(Load {
        requests: number(" done")?,
        failed: number(" failed")?,
        elapsed,
    })
}

/// `5.01s`, `400.20ms` or `1.02m`.
fn time_of(text: &str) -> Option<Duration> {
    let unit_at = text.find(char::is_alphabetic)?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// `name=number`, times in microseconds.
fn of_ask(line: &str) -> Option<Paced> {
    let number = |name: &str| {
        let mut pairs = line.split_whitespace().filter_map(|w| w.split_once('='));
        let (_, number) = pairs.find(|(n, _)| *n == name)?;
        number.parse::<u64>().ok()
    };
    let time = |name: &str| number(name).map(Duration::from_micros);
    Some(Paced {
        requests: number("requests")?,
        failed: number("errors")?,
        p50: time("p50")?,
        p99: time("p99")?,
        p999: time("p999")?,
    })
}

/// What the programs of others call themselves.
pub(super) fn versions() -> String {
    let mut versions = String::new();
    for (name, argument) in [("wrk", "-v"), ("h2load", "--version")] {
        // wrk ends with a failure after it has told.
        let told = Command::new(name).arg(argument).output();
        let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let told = told.unwrap_or_default();
        let version = told.split_whitespace().find(|word| word.contains('.'));
        let separator = if versions.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(versions, "{separator}{name} {}", version.unwrap_or("?"));
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let text = "Running 2s test @ http://127.0.0.1:9/\n  1 threads and 32 connections\n  \
            3000 requests in 2.01s, 4.2MB read\n  Socket errors: connect 0, read 3, write 0, \
            timeout 1\n  Non-2xx or 3xx responses: 5\nRequests/sec:  1492.53\n";
        let load = of_wrk(text).unwrap();
        assert_eq!((load.requests, load.failed), (3000, 9));
        assert_eq!(load.elapsed, Duration::from_millis(2010));
        let well = of_wrk("  7 requests in 500.00ms, 1KB read\n").unwrap();
        assert_eq!((well.requests, well.failed), (7, 0));
        assert_eq!(of_wrk("unable to connect"), None);
    }

    #[test]
    fn what_h2load_says_is_read() {
        let text = "starting benchmark...\n\nfinished in 2.00s, 1500.00 req/s, 1MB/s\n\
            requests: 3032 total, 3032 started, 3000 done, 2998 succeeded, 2 failed, 0 errored, \
            0 timeout\n";
        let load = of_h2load(text).unwrap();
        assert_eq!((load.requests, load.failed), (3000, 2));
        assert_eq!(load.elapsed, Duration::from_secs(2));
    }

    #[test]
    fn line_of_the_paced_load_is_read() {
        let line = "requests=3000 errors=1 elapsed=1500000 p50=40 p99=90 p999=120";
        let paced = of_ask(line).unwrap();
        assert_eq!((paced.requests, paced.failed), (3000, 1));
        assert_eq!(paced.p999, Duration::from_micros(120));
        assert!(of_ask("requests=3000").is_none());
    }
}
