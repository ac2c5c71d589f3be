//! [`Weir`] as a process.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running Weir; killed when dropped.
pub struct Weir {
    child: Child,
    folder: TempDir,
    admin: SocketAddr,
}

impl Weir {
    /// Starts `program` with `configuration`, whose folder has `files` in it. It
    /// needs an admin of its own.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn start(program: &Path, configuration: &str, files: &[(&str, &[u8])]) -> Result<Self> {
        let folder = TempDir::new()?;
        let file = |name: &str| folder.path().join(name);
        for (name, bytes) in files {
            fs::write(file(name), bytes)?;
        }
        fs::write(file("weir.yaml"), configuration)?;
        let mut child = Command::new(program)
            .arg("run")
            .arg(file("weir.yaml"))
            .arg("--admin-address-path")
            .arg(file("admin"))
            .env("WEIR_LOG", "error,weir::reload=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(file("log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let deadline = Instant::now() + START_LIMIT;
        let admin = loop {
            let admin = fs::read_to_string(file("admin")).unwrap_or_default();
            if admin.ends_with('\n') {
                break admin.trim().parse()?;
            }
            if let Some(status) = child.try_wait()? {
                bail!(
                    "Weir ended with {status}:\n{}",
                    fs::read_to_string(file("log"))?
                );
            }
            ensure!(Instant::now() < deadline, "Weir does not get ready");
            std::thread::park_timeout(Duration::from_millis(10));
        };
        Ok(Self {
            child,
            folder,
            admin,
        })
    }

    /// Where its admin is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Puts a file of its folder in the place of another, at once.
    ///
    /// # Errors
    /// Those of the system.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let file = |name: &str| self.folder.path().join(name);
        fs::write(file("next"), bytes)?;
        Ok(fs::rename(file("next"), file(name))?)
    }

    /// Where the listener `name` is.
    ///
    /// # Errors
    /// When there is none.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        let log = self.log();
        let told = format!("listener=\"{name}\" address=");
        let address = log.lines().find_map(|line| line.split(&told).nth(1));
        let address = address.and_then(|rest| rest.split_whitespace().next());
        Ok(address
            .with_context(|| format!("no listener {name}"))?
            .parse()?)
    }

    /// The sum of a metric over the lines that have `label` in them.
    ///
    /// # Errors
    /// When the admin does not answer.
    pub fn metric(&self, name: &str, label: &str) -> Result<u64> {
        let metrics = self.metrics()?;
        let lines = metrics.lines().filter(|line| !line.starts_with('#'));
        let its = lines
            .filter(|line| line.split([' ', '{']).next() == Some(name) && line.contains(label));
        let values = its.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum::<f64>() as u64)
    }

    /// Its metrics, as text.
    ///
    /// # Errors
    /// When the admin does not answer.
    pub fn metrics(&self) -> Result<String> {
        let mut connection = TcpStream::connect(self.admin)?;
        connection.set_read_timeout(Some(START_LIMIT))?;
        connection
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Bytes in memory.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn memory(&self) -> Result<u64> {
        resident_memory(self.child.id())
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Bytes that a process has in memory.
///
/// # Errors
/// When the system does not tell.
pub fn resident_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no VmRSS")?.parse::<u64>()? * 1024)
}

impl Drop for Weir {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
