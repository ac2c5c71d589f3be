//! A proxy as a process: its start, its listeners, what its guests log.

mod envoy;
mod weir;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// How long a proxy may take to load a group's filters.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often to look whether it has.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Which proxy, and where its program is.
#[derive(Debug, Clone)]
pub enum Kind {
    Envoy(PathBuf),
    Weir(PathBuf),
}

/// A line that a guest has logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLine {
    /// The plugin's name, root id or VM id, whichever the proxy gives.
    pub plugin: String,
    pub text: String,
}

impl GuestLine {
    /// What a guest says before it has a plugin may begin with whose it is:
    /// `@group/case/filter text`. It is kept as `@ text`.
    fn addressed(self) -> Self {
        match self
            .text
            .strip_prefix('@')
            .and_then(|text| text.split_once(' '))
        {
            Some((plugin, text)) => Self {
                plugin: plugin.to_owned(),
                text: format!("@ {text}"),
            },
            None => self,
        }
    }
}

/// A running proxy; killed when dropped.
pub struct Proxy {
    child: Child,
    /// Where its admin listens.
    admin: SocketAddr,
    /// Addresses of the listeners by name.
    pub listeners: BTreeMap<String, SocketAddr>,
    /// What the guests log; ends with the process.
    pub guest_lines: mpsc::UnboundedReceiver<GuestLine>,
}

impl Kind {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Envoy(_) => "Envoy",
            Self::Weir(_) => "Weir",
        }
    }

    /// Starts the proxy with `bootstrap` and waits until it accepts connections.
    /// Its log is left in `folder`.
    ///
    /// # Errors
    ///
    /// With the end of its log, if it does not start.
    pub async fn start(&self, bootstrap: &Path, folder: &Path) -> Result<Proxy> {
        let (proxy, ready) = self.launch(bootstrap, folder).await?;
        ready?;
        Ok(proxy)
    }

    /// Starts the proxy with a `bootstrap` that it is to refuse; gives what guests have
    /// logged, or none if it is accepted.
    ///
    /// # Errors
    ///
    /// If there is no such program, or if it neither accepts the bootstrap nor ends.
    pub async fn refusal(&self, bootstrap: &Path, folder: &Path) -> Result<Option<Vec<String>>> {
        let (mut proxy, ready) = self.launch(bootstrap, folder).await?;
        let Err(reason) = ready else {
            return Ok(None);
        };
        if proxy.ended().is_none() {
            return Err(reason.context("it neither starts nor ends"));
        }
        // Until the log is complete.
        while proxy.guest_lines.recv().await.is_some() {}
        let log = fs::read(self.log_file(folder))?;
        let log = String::from_utf8_lossy(&log);
        Ok(Some(
            log.lines().filter_map(|line| self.said(line)).collect(),
        ))
    }

    /// What a guest says in a line of the log, on whatever thread.
    fn said(&self, line: &str) -> Option<String> {
        match self {
            Self::Envoy(_) => envoy::said(line),
            Self::Weir(_) => weir::said(line),
        }
    }

    fn log_file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.log", self.name()))
    }

    /// A process, and whether it has become ready.
    async fn launch(&self, bootstrap: &Path, folder: &Path) -> Result<(Proxy, Result<()>)> {
        let admin_file = folder.join(format!("{}.admin", self.name()));
        let log = self.log_file(folder);
        if admin_file.exists() {
            fs::remove_file(&admin_file)?;
        }
        let mut command = match self {
            Self::Envoy(program) => envoy::command(program, bootstrap),
            Self::Weir(program) => weir::command(program, bootstrap),
        };
        let mut child = command
            .arg("--admin-address-path")
            .arg(&admin_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let guest_lines = self.follow(&mut child, &log)?;
        let mut proxy = Proxy {
            child,
            admin: SocketAddr::from(([0; 4], 0)),
            listeners: BTreeMap::new(),
            guest_lines,
        };
        let ready = self.wait_until_ready(&mut proxy, &admin_file).await;
        let ready = ready.map_err(|error| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(20).collect();
            let last = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
            error.context(format!(
                "{} does not start; its log ends\n{last}",
                self.name()
            ))
        });
        Ok((proxy, ready))
    }

    /// Copies the proxy's log to a file, and sends on what is its guests'.
    fn follow(&self, child: &mut Child, log: &Path) -> Result<mpsc::UnboundedReceiver<GuestLine>> {
        let stderr = child.stderr.take().context("no standard error")?;
        let mut file = fs::File::create(log)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let (kind, pid) = (self.clone(), child.id());
        std::thread::spawn(move || {
            use std::io::Write;
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                // the log is for a person to read, and may be incomplete
                file.write_all(&line).ok();
                let text = String::from_utf8_lossy(&line);
                let guest = match &kind {
                    Kind::Envoy(_) => envoy::guest_line(text.trim_end(), pid),
                    Kind::Weir(_) => weir::guest_line(text.trim_end()),
                };
                let guest = guest.map(GuestLine::addressed);
                if guest.is_some_and(|guest| sender.send(guest).is_err()) {
                    return;
                }
                line.clear();
            }
        });
        Ok(receiver)
    }

    async fn wait_until_ready(&self, proxy: &mut Proxy, admin_file: &Path) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = proxy.child.try_wait()? {
                bail!("it ended with {status}");
            }
            let admin = fs::read_to_string(admin_file).unwrap_or_default();
            if let Ok(admin) = admin.trim().parse()
                && get(admin, "/ready").await.is_ok_and(|(ready, _)| ready)
            {
                proxy.admin = admin;
                let (_, text) = get(admin, "/listeners").await?;
                for line in text.lines() {
                    let (name, address) =
                        line.split_once("::").context("an odd line in /listeners")?;
                    proxy.listeners.insert(name.to_owned(), address.parse()?);
                }
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("it is not ready after {} s", START_LIMIT.as_secs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Proxy {
    /// The process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its admin listens.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Asks the process to end, and waits until it has or for so long.
    pub async fn terminate(&mut self, patience: Duration) -> Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let deadline = Instant::now() + patience;
        while self.child.try_wait()?.is_none() && Instant::now() < deadline {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until no request is in flight, or for so long; gives how many are then.
    ///
    /// # Errors
    ///
    /// If the admin does not answer.
    pub async fn idle(&self, patience: Duration) -> Result<u64> {
        let deadline = Instant::now() + patience;
        loop {
            let (_, page) = get(self.admin, "/metrics").await?;
            let active = page
                .lines()
                .filter(|line| line.starts_with("envoy_http_downstream_rq_active{"))
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
                .sum();
            if active == 0 || Instant::now() > deadline {
                return Ok(active);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.child
            .try_wait()
            .ok()
            .flatten()
            .map(|status| status.to_string())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks an admin endpoint: whether it says 200, and the body.
async fn get(admin: SocketAddr, path: &str) -> Result<(bool, String)> {
    let mut connection = TcpStream::connect(admin).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let body = if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        unchunked(body)
    } else {
        body.to_owned()
    };
    Ok((head.starts_with("HTTP/1.1 200"), body))
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n")
        && let Ok(size @ 1..) = usize::from_str_radix(size, 16)
        && let (Some(chunk), Some(rest)) = (rest.get(..size), rest.get(size + 2..))
    {
        whole += chunk;
        body = rest;
    }
    whole
}

/// Put before a program, it makes it end when this one does, in whatever way.
const BOUND: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];
