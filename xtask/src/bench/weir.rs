//! Weir as it is measured: one worker, and a chain of the filter hello.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::layout;
use crate::process::output_of;

/// How long Weir may take to compile its filters.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often to look whether it has.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The module of the filter hello.
pub(super) fn filter() -> PathBuf {
    layout::modules().join("hello.wasm")
}

/// A running Weir; killed when dropped.
pub(super) struct Weir {
    child: Child,
    name: &'static str,
    folder: PathBuf,
    address: SocketAddr,
}

impl Weir {
    /// Starts Weir with `filters` times hello, each with a VM of its own, and
    /// sees to it that they work.
    pub(super) fn start(name: &'static str, filters: usize, upstream: SocketAddr) -> Result<Self> {
        let folder = layout::root()
            .join("target/bench")
            .join(name.replace(' ', "-"));
        fs::create_dir_all(&folder)?;
        let (config, admin) = (folder.join("weir.yaml"), folder.join("admin"));
        fs::write(&config, configuration(filters, upstream))?;
        if admin.exists() {
            fs::remove_file(&admin)?;
        }
        // setpriv becomes Weir, and has it killed when this program ends, in
        // whatever way.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(layout::root().join("target/release/weir"))
            .arg("run")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin)
            .env("WEIR_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("log"))?)
            .spawn()
            .context("cannot start Weir by setpriv, which is part of util-linux")?;
        let mut weir = Self {
            child,
            name,
            folder,
            address: upstream,
        };
        weir.address = weir.wait_until_ready(&admin)?;
        let answer = get(weir.address, "/")?;
        ensure!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-hello") == (filters > 0),
            "`{name}` does not do what is to be measured; it answers:\n{answer}"
        );
        Ok(weir)
    }

    /// Gives the address of the listener.
    fn wait_until_ready(&mut self, admin: &Path) -> Result<SocketAddr> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let admin = fs::read_to_string(admin).unwrap_or_default();
            if admin.ends_with('\n') {
                let list = get(admin.trim().parse()?, "/listeners")?;
                let edge = list.lines().find_map(|line| line.strip_prefix("edge::"));
                return Ok(edge.context("Weir lists no listener")?.parse()?);
            }
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.log())?;
                bail!("Weir ended with {status}:\n{log}");
            }
            ensure!(Instant::now() < deadline, "Weir does not get ready");
            thread::park_timeout(POLL_INTERVAL);
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// CPU time of all threads since the start, in user and kernel mode.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let ticks = cpu_ticks(&stat).context("/proc/PID/stat has another form")?;
        let per_second = output_of(Command::new("getconf").arg("CLK_TCK"))
            .and_then(|text| text.parse::<u32>().ok())
            .context("getconf does not tell CLK_TCK")?;
        Ok(Duration::from_secs(ticks) / per_second)
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `utime + stime` of `proc_pid_stat(5)`: fields 14 and 15, where the second field,
/// in parentheses, may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, from_third) = stat.rsplit_once(") ")?;
    let mut times = from_third.split(' ').skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// A whole response, as text.
fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

fn configuration(filters: usize, upstream: SocketAddr) -> String {
    let filter = |number| {
        format!(
            "
      - name: hello-{number}
        wasm:
          vm_config:
            vm_id: hello-{number}
            code: {{ local: {{ filename: {:?} }} }}
          configuration: {{ request: from Weir, response: from Weir }}",
            filter()
        )
    };
    let chain = (1..=filters).map(filter).collect::<String>();
    format!(
        "\
workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
  - name: edge
    address: 127.0.0.1:0
    http_filters:{chain}
    routes:
      - match: {{ prefix: / }}
        cluster: upstream
clusters:
  - name: upstream
    endpoints: [\"{upstream}\"]
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_that_of_user_and_kernel_mode() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 500 0 0 0 120 30 9 9 20 0 4 0";
        assert_eq!(cpu_ticks(stat), Some(150));
    }
}
