//! Weir as a process.

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
pub(crate) struct Weir {
    child: Child,
    folder: TempDir,
    admin: SocketAddr,
}

impl Weir {
    pub(crate) fn start(program: &Path, module: &[u8], clusters: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let file = |name: &str| folder.path().join(name);
        fs::write(file("guest.wasm"), module)?;
        let configuration = format!(
            "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
             address: 127.0.0.1:0\n  http_filters:\n  - name: soak\n    wasm: {{ vm_config: \
             {{ code: {{ local: {{ filename: {} }} }} }} }}\n  \
             routes: [{{ match: {{ prefix: / }}, cluster: h1 }}]\nclusters:\n{clusters}",
            file("guest.wasm").display()
        );
        fs::write(file("weir.yaml"), configuration)?;
        let mut child = Command::new(program)
            .arg("run")
            .arg(file("weir.yaml"))
            .arg("--admin-address-path")
            .arg(file("admin"))
            .env("WEIR_LOG", "error")
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

    /// Its metrics, as text.
    pub(crate) fn metrics(&self) -> Result<String> {
        let mut connection = TcpStream::connect(self.admin)?;
        connection.set_read_timeout(Some(START_LIMIT))?;
        connection
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Bytes in memory.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("no VmRSS")?.parse::<u64>()? * 1024)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
