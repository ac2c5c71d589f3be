//! A proxy as it is measured: a process on a core of its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::load::HEADERS;
use super::scenario::{Filters, Kind, Scenario};
use super::{LOAD_CORE, PROXY_CORE, config};
use crate::process::{self, Running, output_of};
use crate::{envoy, layout};

/// How long a proxy may take to compile its filters.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How often to look whether it has.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running proxy; ended when dropped.
pub(super) struct Server {
    kind: Kind,
    scenario: &'static Scenario,
    process: Running,
    folder: PathBuf,
    address: SocketAddr,
    upstream: SocketAddr,
    /// From the start of the process to the first answer.
    pub(super) start: Duration,
}

/// What a process has in memory, in bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) now: u64,
    pub(super) peak: u64,
}

/// Time that a process has had on processors.
#[derive(Clone, Copy)]
pub(super) struct CpuTime {
    pub(super) user: Duration,
    pub(super) kernel: Duration,
}

impl CpuTime {
    pub(super) fn all(self) -> Duration {
        self.user + self.kernel
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            user: self.user - earlier.user,
            kernel: self.kernel - earlier.kernel,
        }
    }
}

impl Server {
    /// Starts a proxy with one worker, and sees to it that it does what is to be
    /// measured.
    pub(super) fn start(
        kind: Kind,
        scenario: &'static Scenario,
        upstream: SocketAddr,
    ) -> Result<Self> {
        let has_cache = matches!(scenario.filters, Filters::Distinct(_));
        Self::start_with(kind, scenario, upstream, has_cache)
    }

    /// The same of a Weir that need not compile its modules.
    pub(super) fn start_cached(scenario: &'static Scenario, upstream: SocketAddr) -> Result<Self> {
        Self::start_with(Kind::Weir, scenario, upstream, true)
    }

    fn start_with(
        kind: Kind,
        scenario: &'static Scenario,
        upstream: SocketAddr,
        has_cache: bool,
    ) -> Result<Self> {
        let folder = layout::root().join("target/bench");
        let folder = folder.join(format!("{}-{}", scenario.name, kind.name()));
        fs::create_dir_all(&folder)?;
        let program = Program::prepare(kind, scenario, &folder, upstream, has_cache)?;
        let began = Instant::now();
        let process = program.spawn(&folder)?;
        let mut server = Self {
            kind,
            scenario,
            process,
            folder,
            address: upstream,
            upstream,
            start: Duration::ZERO,
        };
        server.address = server.wait_until_ready(&program)?;
        server.check()?;
        server.start = began.elapsed();
        Ok(server)
    }

    fn wait_until_ready(&mut self, program: &Program) -> Result<SocketAddr> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.process.0.try_wait()? {
                let log = fs::read_to_string(self.log())?;
                bail!("{} ended with {status}:\n{log}", self.kind.name());
            }
            let address = match &program.listens {
                Listens::At(address) => TcpStream::connect(address).is_ok().then_some(*address),
                Listens::AsAdminTells(file) => listener_of(file)?,
            };
            if let Some(address) = address {
                return Ok(address);
            }
            ensure!(
                Instant::now() < deadline,
                "{} does not get ready; its log is {}",
                self.kind.name(),
                self.log().display()
            );
            thread::park_timeout(POLL_INTERVAL);
        }
    }

    /// Asks once as the load will.
    fn check(&self) -> Result<()> {
        if self.kind == Kind::Nginx {
            // It does not take HTTP/1 where it speaks HTTP/2.
            return Ok(());
        }
        let (path, body) = (self.scenario.path, self.scenario.body);
        let method = if body > 0 { "POST" } else { "GET" };
        let answer = ask(self.address, method, path, body)?;
        ensure!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(self.scenario.mark),
            "{} does not do what is to be measured in `{}`; it answers:\n{}",
            self.kind.name(),
            self.scenario.name,
            answer.chars().take(500).collect::<String>()
        );
        Ok(())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Has the proxy take over another configuration; returns before it has.
    pub(super) fn reload(&self, revision: usize) -> Result<()> {
        let (name, text) = match self.kind {
            Kind::Weir => (
                "config.json",
                config::whole(self.scenario, revision, self.upstream)?,
            ),
            Kind::Envoy => (
                config::LISTENERS,
                config::listeners(self.scenario, revision)?,
            ),
            Kind::Nginx | Kind::Native => bail!("{} is not reloaded here", self.kind.name()),
        };
        // Both watch the file for another one in its place.
        let part = self.folder.join("part");
        fs::write(&part, text)?;
        fs::rename(&part, self.folder.join(name))?;
        Ok(())
    }

    /// Has the proxy end by itself.
    pub(super) fn end(mut self) -> Result<()> {
        let pid = self.process.0.id().to_string();
        process::run(Command::new("kill").args(["-TERM", &pid]))?;
        let status = self.process.0.wait()?;
        ensure!(
            status.success(),
            "{} ended with {status}; its log is {}",
            self.kind.name(),
            self.log().display()
        );
        Ok(())
    }

    /// CPU time of all threads since the start.
    pub(super) fn cpu_time(&self) -> Result<CpuTime> {
        cpu_time_of(self.process.0.id())
    }

    pub(super) fn memory(&self) -> Result<Memory> {
        memory_of(self.process.0.id())
    }
}

/// A file about a process.
fn proc(pid: u32, file: &str) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{pid}/{file}"))?)
}

/// CPU time of all threads of the process `pid`.
pub(super) fn cpu_time_of(pid: u32) -> Result<CpuTime> {
    let ticks = cpu_ticks(&proc(pid, "stat")?).context("/proc/PID/stat has another form")?;
    let per_second = output_of(Command::new("getconf").arg("CLK_TCK"))
        .and_then(|text| text.parse::<u32>().ok())
        .context("getconf does not tell CLK_TCK")?;
    let [user, kernel] = ticks.map(|ticks| Duration::from_secs(ticks) / per_second);
    Ok(CpuTime { user, kernel })
}

/// What the process `pid` has in memory.
pub(super) fn memory_of(pid: u32) -> Result<Memory> {
    let status = proc(pid, "status")?;
    let of = |field| bytes(&status, field).context("/proc/PID/status has another form");
    Ok(Memory {
        now: of("VmRSS:")?,
        peak: of("VmHWM:")?,
    })
}

/// How to find out where a proxy listens.
enum Listens {
    At(SocketAddr),
    /// Its admin lists it, whose address is in this file.
    AsAdminTells(PathBuf),
}

/// What is started.
struct Program {
    arguments: Vec<String>,
    listens: Listens,
}

impl Program {
    fn prepare(
        kind: Kind,
        scenario: &Scenario,
        folder: &Path,
        upstream: SocketAddr,
        has_cache: bool,
    ) -> Result<Self> {
        let admin = folder.join("admin");
        if admin.exists() {
            fs::remove_file(&admin)?;
        }
        let mut listens = Listens::AsAdminTells(admin.clone());
        let admin = admin.display().to_string();
        let arguments = match kind {
            Kind::Weir | Kind::Native => {
                let config = folder.join("config.json");
                let text = if kind == Kind::Native {
                    config::native(scenario, upstream)?
                } else {
                    config::whole(scenario, 0, upstream)?
                };
                fs::write(&config, text)?;
                let config = if has_cache {
                    cached(&config)?
                } else {
                    vec!["--envoy".to_owned(), config.display().to_string()]
                };
                let mut arguments = vec![weir(), "run".to_owned()];
                arguments.extend(config);
                arguments.extend(["--concurrency", "1", "--admin-address-path"].map(String::from));
                arguments.push(admin);
                arguments
            }
            Kind::Envoy => {
                let config = folder.join("config.json");
                if scenario.reloads {
                    let listeners = config::listeners(scenario, 0)?;
                    fs::write(folder.join(config::LISTENERS), listeners)?;
                    fs::write(&config, config::dynamic(folder, upstream))?;
                } else {
                    fs::write(&config, config::whole(scenario, 0, upstream)?)?;
                }
                let program = envoy::find()?.display().to_string();
                let config = config.display().to_string();
                let options = "--concurrency 1 --disable-hot-restart --use-dynamic-base-id \
                               --log-level error --drain-time-s 2";
                let mut arguments = vec![program, "-c".to_owned(), config];
                arguments.extend(options.split_whitespace().map(String::from));
                arguments.extend(["--admin-address-path".to_owned(), admin]);
                arguments
            }
            Kind::Nginx => {
                // It does not take port 0. Nobody else takes ports meanwhile.
                let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
                listens = Listens::At(address);
                let config = folder.join("nginx.conf");
                fs::write(&config, config::nginx(scenario, address, upstream))?;
                let folder = folder.display();
                let arguments = format!("nginx -p {folder} -e stderr -c {}", config.display());
                arguments.split(' ').map(String::from).collect()
            }
        };
        Ok(Self { arguments, listens })
    }

    /// Starts it on its core. Both programs in front of it become it, and the first has
    /// it killed when this one ends, in whatever way.
    fn spawn(&self, folder: &Path) -> Result<Running> {
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(["taskset", "-c", PROXY_CORE])
            .args(&self.arguments)
            .env("WEIR_LOG", "error")
            // Where nginx is, which need not be on the path of every user.
            .env("PATH", path_with_sbin())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("log"))?)
            .spawn();
        process
            .map(Running)
            .context("cannot start programs by setpriv and taskset of util-linux")
    }
}

pub(super) fn path_with_sbin() -> String {
    format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default())
}

/// A program to be measured instead of one that is built for it.
static GIVEN: OnceLock<String> = OnceLock::new();

/// Has `program` be measured.
pub(super) fn give(program: &str) {
    // There is one for a whole run.
    let _ = GIVEN.set(program.to_owned());
}

pub(super) fn is_given() -> bool {
    GIVEN.get().is_some()
}

pub(super) fn weir() -> String {
    let built = || {
        let program = layout::root().join("target/release/weir");
        program.display().to_string()
    };
    GIVEN.get().cloned().unwrap_or_else(built)
}

/// The native form of a configuration, with a compile cache that has its modules.
fn cached(config: &Path) -> Result<Vec<String>> {
    let import = output_of(Command::new(weir()).arg("import").arg(config));
    let native = import.context("`weir import` refuses the configuration")?;
    let path = config.with_extension("yaml");
    let cache = config.with_file_name("cache");
    fs::write(
        &path,
        format!("compile_cache: {{ path: {cache:?} }}\n{native}\n"),
    )?;
    let mut check = Command::new("taskset");
    check.args(["-c", LOAD_CORE, &weir(), "check"]).arg(&path);
    // A program that counts what it does is not to count this.
    check.env("LLVM_PROFILE_FILE", "/dev/null");
    output_of(&mut check).context("`weir check` refuses the configuration")?;
    Ok(vec![path.display().to_string()])
}

/// The address of the listener, as soon as the admin tells it.
fn listener_of(admin: &Path) -> Result<Option<SocketAddr>> {
    let admin = fs::read_to_string(admin).unwrap_or_default();
    let Ok(admin) = admin.trim().parse::<SocketAddr>() else {
        return Ok(None);
    };
    if !ask(admin, "GET", "/ready", 0).is_ok_and(|ready| ready.starts_with("HTTP/1.1 200 ")) {
        return Ok(None);
    }
    let list = ask(admin, "GET", "/listeners", 0)?;
    let edge = list.lines().find_map(|line| line.strip_prefix("edge::"));
    edge.map(|address| Ok(address.trim().parse()?)).transpose()
}

/// A whole response, as text.
fn ask(address: SocketAddr, method: &str, path: &str, body: usize) -> Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let headers = HEADERS.map(|header| format!("{header}\r\n")).concat();
    let length = if body > 0 {
        format!("content-length: {body}\r\n")
    } else {
        String::new()
    };
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}{length}\r\n"
    )?;
    connection.write_all(&vec![b'a'; body])?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

/// `utime` and `stime` of `proc_pid_stat(5)`: fields 14 and 15, where the second field,
/// in parentheses, may hold anything.
fn cpu_ticks(stat: &str) -> Option<[u64; 2]> {
    let (_, from_third) = stat.rsplit_once(") ")?;
    let mut times = from_third.split(' ').skip(11).map(str::parse::<u64>);
    Some([times.next()?.ok()?, times.next()?.ok()?])
}

/// A field of `proc_pid_status(5)`, in bytes.
fn bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_that_of_user_and_kernel_mode() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 500 0 0 0 120 30 9 9 20 0 4 0";
        assert_eq!(cpu_ticks(stat), Some([120, 30]));
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tweir\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(bytes(status, "VmPTE:"), None);
    }
}
