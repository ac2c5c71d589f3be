//! The gateway of the demo: Weir as a user would run it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::exchange::{self, Message};
use crate::{layout, process};

/// How long the gateway may take to compile its filters and get ready.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running gateway; ended when dropped.
pub(super) struct Gateway {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    folder: PathBuf,
}

impl Gateway {
    /// Writes the configuration and starts Weir in front of `upstream`.
    pub(super) fn start(upstream: SocketAddr) -> Result<Self> {
        let folder = layout::root().join("target/demo");
        fs::create_dir_all(&folder)?;
        let config = folder.join("weir.yaml");
        let edge = port_or_any(10_000);
        let admin = port_or_any(9901);
        fs::write(&config, configuration(edge, admin, upstream))?;
        let ready = folder.join("admin-address");
        let _ = fs::remove_file(&ready);
        let weir = layout::root().join("target/debug/weir");
        let mut command = Command::new(weir);
        command
            .arg("run")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("access.log"))?)
            .stderr(File::create(folder.join("weir.log"))?);
        let child = command.spawn().context("cannot start weir")?;
        let mut gateway = Self {
            child,
            address: edge,
            admin,
            folder,
        };
        gateway.admin = gateway.wait_until_ready(&ready)?;
        gateway.address = gateway.listener()?;
        Ok(gateway)
    }

    fn wait_until_ready(&mut self, ready: &Path) -> Result<SocketAddr> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Ok(text) = fs::read_to_string(ready)
                && text.ends_with('\n')
            {
                return Ok(text.trim().parse()?);
            }
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                bail!("weir ended with {status}:\n{log}");
            }
            ensure!(
                Instant::now() < deadline,
                "weir is not ready after {} s",
                START_LIMIT.as_secs()
            );
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// The address that Weir listens on.
    fn listener(&self) -> Result<SocketAddr> {
        let list = exchange::send(self.admin, &Message::request("GET", "/listeners", &[], ""))?;
        let address = list.body.trim().rsplit("::").next().unwrap_or_default();
        Ok(address.parse()?)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("weir.yaml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("weir.log")
    }

    /// Waits until the gateway ends, as it does on Ctrl-C.
    pub(super) fn wait(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "weir ended with {status}");
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `port` on loopback if it is free, else any port.
fn port_or_any(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from(([127, 0, 0, 1], port));
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

fn configuration(edge: SocketAddr, admin: SocketAddr, upstream: SocketAddr) -> String {
    let module = |name: &str| layout::modules().join(format!("{name}.wasm"));
    let (request_id, security_headers, redact) = (
        module("request-id"),
        module("security-headers"),
        module("redact"),
    );
    format!(
        "\
# Written by `cargo xtask demo`.
admin: {{ address: \"{admin}\" }}
listeners:
  - name: edge
    address: \"{edge}\"
    access_log: {{ path: stdout }}
    http_filters:
      - name: request-id
        wasm:
          vm_config: {{ vm_id: request-id, code: {{ local: {{ filename: {request_id:?} }} }} }}
      - name: security-headers
        wasm:
          vm_config: {{ vm_id: security-headers, code: {{ local: {{ filename: {security_headers:?} }} }} }}
          configuration: {{ frame_options: DENY }}
      - name: redact
        wasm:
          vm_config: {{ vm_id: redact, code: {{ local: {{ filename: {redact:?} }} }} }}
          configuration:
            directions: [request, response]
            rules:
              - {{ detect: credit_card, keep_last: 0 }}
              - {{ detect: email, replacement: \"<email>\" }}
    routes:
      - match: {{ prefix: / }}
        cluster: shop
clusters:
  - name: shop
    endpoints: [\"{upstream}\"]
"
    )
}

/// Whether colours help: somebody watches, and nobody objects.
pub(super) fn is_watched() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && !process::is_ci() && std::env::var_os("NO_COLOR").is_none()
}
