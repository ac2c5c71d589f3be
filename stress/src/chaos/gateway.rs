//! Weir with listeners, each with a chain of its own, in front of one upstream.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_conformance::guests::CHAOS;
use weir_load::{Outcome, Plan, upstream};
use weir_stress::Weir;

/// What is run, and what it is given.
pub(crate) struct Programs {
    weir: PathBuf,
    hello: Vec<u8>,
    chaos: Vec<u8>,
    upstream: SocketAddr,
}

/// What hello is configured with.
const HELLO: &str = "{ request: from Weir, response: from Weir }";

impl Programs {
    pub(crate) fn new(weir: PathBuf, hello: &Path) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let upstream = listener.local_addr()?;
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { upstream::serve(listener.try_into()?).await })
        });
        let read = std::fs::read(hello);
        Ok(Self {
            weir,
            hello: read.with_context(|| format!("{}", hello.display()))?,
            chaos: wat::parse_str(CHAOS)?,
            upstream,
        })
    }

    pub(crate) fn weir(&self) -> &Path {
        &self.weir
    }

    pub(crate) fn hello(&self) -> &[u8] {
        &self.hello
    }

    pub(crate) fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    /// Starts Weir with these listeners: the name of each, and the settings of its
    /// filter. The one named `chaos` has the chaotic filter, others have hello, or
    /// none if there is nothing about it.
    pub(crate) fn start(&self, workers: usize, listeners: &[(&str, &str)]) -> Result<Weir> {
        let mut configuration =
            format!("workers: {workers}\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n");
        for (name, settings) in listeners {
            let (module, configured) = match *name {
                "chaos" => ("chaos", String::new()),
                _ => ("hello", format!("configuration: {HELLO}, ")),
            };
            write!(
                configuration,
                "- name: {name}\n  address: 127.0.0.1:0\n  \
                 routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n"
            )?;
            if !settings.is_empty() {
                write!(
                    configuration,
                    "  http_filters:\n  - name: {name}\n    wasm: {{ {configured}{settings}, \
                     vm_config: {{ vm_id: {name}, \
                     code: {{ local: {{ filename: {module}.wasm }} }} }} }}\n"
                )?;
            }
        }
        writeln!(
            configuration,
            "clusters: [{{ name: web, endpoints: [\"{}\"] }}]",
            self.upstream
        )?;
        let files: [(&str, &[u8]); 2] = [("hello.wasm", &self.hello), ("chaos.wasm", &self.chaos)];
        Weir::start(&self.weir, &configuration, &files)
    }
}

/// Settings of a filter that has nothing special.
pub(crate) const PLAIN: &str = "root_id: plain";

/// Loads a listener whose requests must all be served.
pub(crate) fn load(weir: &Weir, listener: &str, seconds: u64, pace: Duration) -> Result<Outcome> {
    let outcome = weir_load::run(&Plan {
        address: weir.listener(listener)?,
        connections: 8,
        duration: Duration::from_secs(seconds),
        requests_max: usize::MAX,
        headers: "",
        pace,
    })?;
    ensure!(
        outcome.errors == 0 && outcome.requests > 0,
        "{listener}: {} requests, {} failed; the log of Weir:\n{}",
        outcome.requests,
        outcome.errors,
        weir.log()
    );
    Ok(outcome)
}

/// Requests a second.
pub(crate) fn rate(outcome: &Outcome) -> f64 {
    outcome.requests as f64 / outcome.elapsed.as_secs_f64()
}

pub(crate) fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}
