//! Weir as a process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::upstream::Upstream;
use super::{Client, Response, eventually, unix, weir_binary};

/// A running Weir; killed when dropped.
pub struct Weir {
    child: Child,
    folder: TempDir,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
    /// Processes before this one.
    upgrades: usize,
}

/// `--takeover-path` of every process that can be upgraded.
const TAKEOVER: &str = "takeover";

/// The user that sidecars are, by its number.
pub const SIDECAR: u32 = 1337;

/// What Istio's agent starts Envoy with, but for the bootstrap (istio, `pkg/envoy/proxy.go`).
const AGENT_ARGUMENTS: &[&str] = &[
    "envoy",
    "--drain-time-s",
    "45",
    "--drain-strategy",
    "immediate",
    "--local-address-ip-version",
    "v4",
    "--file-flush-interval-msec",
    "1000",
    "--disable-hot-restart",
    "--allow-unknown-static-fields",
    "-l",
    "warning",
    "--component-log-level",
    "misc:error",
    "--log-format",
    "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t",
    "--concurrency",
    "2",
];

impl Weir {
    /// Starts Weir with `config`, which must have an admin at port 0, and waits
    /// until it is ready. Panics, with all that was logged, when it does not start.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, |_| {})
    }

    /// The same, with `files` written to the configuration's folder first.
    pub fn start_with(config: &str, files: impl FnOnce(&Path)) -> Self {
        Self::start_args(config, &[], files)
    }

    /// Starts Weir with one worker, and one filter before `upstream`: `guest`, in text,
    /// of whose `wasm` these are further keys, in flow style.
    pub fn start_guest(upstream: &Upstream, wasm: &str, guest: &str) -> Self {
        Self::start_module(upstream, wasm, &wat::parse_str(guest).unwrap())
    }

    /// The same, with a module that is compiled.
    pub fn start_module(upstream: &Upstream, wasm: &str, module: &[u8]) -> Self {
        let config = format!(
            "workers: 1\n\
             admin: {{ address: 127.0.0.1:0 }}\n\
             listeners:\n\
             - name: edge\n  \
               address: 127.0.0.1:0\n  \
               http_filters:\n  \
               - name: guest\n    \
                 wasm: {{ {wasm}, vm_config: {{ code: {{ local: {{ filename: guest.wasm }} }} }} }}\n  \
               routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
             clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
            upstream.address
        );
        Self::start_with(&config, |folder| {
            std::fs::write(folder.join("guest.wasm"), module).unwrap();
        })
    }

    /// Starts Weir with Envoy's bootstrap, which must have an admin at port 0.
    pub fn start_envoy(bootstrap: &str) -> Self {
        Self::start_args(bootstrap, &["--envoy"], |_| {})
    }

    /// Starts Weir with further variables in its environment.
    pub fn start_env(
        config: &str,
        environment: &[(&str, &str)],
        files: impl FnOnce(&Path),
    ) -> Self {
        Self::start_all(config, &[], environment, files)
    }

    /// Starts Weir where a process may have `soft` descriptors open, and `hard` if it
    /// asks for more.
    pub fn start_limited(config: &str, soft: u32, hard: u32) -> Self {
        let limit = format!("--nofile={soft}:{hard}");
        Self::start_program(&["prlimit", &limit, "--"], config, &["run"], &[], |_| {})
    }

    /// Starts Weir so that [`Weir::upgrade`] works.
    pub fn start_upgradable(config: &str) -> Self {
        Self::start_args(config, &["--takeover-path", TAKEOVER], |_| {})
    }

    /// As [`Weir::start_envoy`], so that [`Weir::upgrade`] works, with `--envoy`.
    pub fn start_upgradable_envoy(bootstrap: &str) -> Self {
        let args = ["--takeover-path", TAKEOVER, "--envoy"];
        Self::start_args(bootstrap, &args, |_| {})
    }

    /// Starts `weir run ARGS… FILE` in the configuration's folder.
    pub fn start_args(config: &str, args: &[&str], files: impl FnOnce(&Path)) -> Self {
        Self::start_all(config, args, &[], files)
    }

    /// Starts Weir as Istio's agent starts Envoy, as the user [`SIDECAR`], with Envoy's
    /// `bootstrap`; with these capabilities, such as `net_admin`, if there are any.
    pub fn start_as_envoy(
        bootstrap: &str,
        capabilities: &[&str],
        files: impl FnOnce(&Path),
    ) -> Self {
        let user = SIDECAR.to_string();
        let mut launcher = vec![
            "setpriv",
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
        ];
        let list: Vec<_> = capabilities.iter().map(|name| format!("+{name}")).collect();
        let list = list.join(",");
        if !list.is_empty() {
            launcher.extend(["--inh-caps", &list, "--ambient-caps", &list]);
        }
        let words = [AGENT_ARGUMENTS, &["-c"]].concat();
        Self::start_program(&launcher, bootstrap, &words, &[], |folder| {
            let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(folder, all).unwrap();
            files(folder);
        })
    }

    fn start_all(
        config: &str,
        args: &[&str],
        environment: &[(&str, &str)],
        files: impl FnOnce(&Path),
    ) -> Self {
        Self::start_program(&[], config, &[&["run"], args].concat(), environment, files)
    }

    /// Starts Weir by `launcher`, a program that becomes it, with these words in front of
    /// the configuration.
    fn start_program(
        launcher: &[&str],
        config: &str,
        words: &[&str],
        environment: &[(&str, &str)],
        files: impl FnOnce(&Path),
    ) -> Self {
        let folder = TempDir::new().unwrap();
        files(folder.path());
        std::fs::write(folder.path().join("weir.yaml"), config).unwrap();
        let mut child = spawn(launcher, folder.path(), words, environment, 0);
        let admin = ready(&mut child, folder.path(), 0).unwrap_or_else(|status| {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
            panic!("Weir ended with {status}:\n{log}");
        });
        let mut weir = Self {
            child,
            folder,
            admin,
            listeners: Vec::new(),
            upgrades: 0,
        };
        weir.listeners = weir.listeners();
        weir
    }

    /// Starts another process with `args`, which takes over from this one. Gives how
    /// this one ended or, if the other did not start, `Err` of how that did.
    pub fn upgrade(&mut self, args: &[&str]) -> Result<ExitStatus, ExitStatus> {
        let number = self.upgrades + 1;
        let words = [&["run", "--takeover-path", TAKEOVER], args].concat();
        let mut child = spawn(&[], self.folder.path(), &words, &[], number);
        match ready(&mut child, self.folder.path(), number) {
            Ok(admin) => self.admin = admin,
            Err(status) => return Err(status),
        }
        self.upgrades = number;
        let mut before = std::mem::replace(&mut self.child, child);
        self.listeners = self.listeners();
        Ok(eventually("the process before ends", || {
            before.try_wait().unwrap()
        }))
    }

    /// Names and addresses of the listeners, as the admin tells them.
    fn listeners(&self) -> Vec<(String, SocketAddr)> {
        self.admin_get("/listeners")
            .text()
            .lines()
            .map(|line| {
                let (name, address) = line.split_once("::").unwrap();
                (name.to_owned(), reached(address))
            })
            .collect()
    }

    /// Where the admin is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Address of a listener.
    pub fn listener(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(n, _)| n == name);
        found.unwrap_or_else(|| panic!("no listener {name}")).1
    }

    /// A client's connection to the listener `edge`.
    pub fn connect(&self) -> Client {
        Client::connect(self.listener("edge"))
    }

    /// Asks an admin endpoint.
    pub fn admin_get(&self, path: &str) -> Response {
        self.connect_admin().get(path)
    }

    /// Has the admin do something.
    pub fn admin_post(&self, path: &str) -> Response {
        self.connect_admin().request("POST", path, &[], b"")
    }

    /// A connection to the admin.
    pub fn connect_admin(&self) -> Client {
        Client::connect_as(self.admin, self.admin.to_string())
    }

    /// Sum of all samples of a metric.
    pub fn metric(&self, name: &str) -> u64 {
        self.metric_of(name, "")
    }

    /// Sum of those samples of the metric `name` that have this label: `name="value"`.
    pub fn metric_of(&self, name: &str, label: &str) -> u64 {
        let metrics = self.admin_get("/metrics").text();
        metrics
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(label))
            })
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// Waits until the metric `name` has this value.
    pub fn eventually_metric(&self, name: &str, value: u64) {
        eventually(&format!("{name} {value}"), || {
            (self.metric(name) == value).then_some(())
        });
    }

    /// What Weir has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// What Weir has written to standard output so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stdout")).unwrap()
    }

    /// Has the peak of [`Self::memory`] begin anew.
    pub fn forget_peak_memory(&self) {
        // "5" resets the peak (Linux, `proc_pid_clear_refs`).
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Resident memory in bytes: now, and the most there has been.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
            let kib = line.split_whitespace().next().unwrap();
            kib.parse::<u64>().unwrap() * 1024
        };
        (value("VmRSS:"), value("VmHWM:"))
    }

    /// Runs `work` and gives the growth of the memory at its peak, in bytes.
    pub fn growth(&self, work: impl FnOnce()) -> u64 {
        self.forget_peak_memory();
        let (before, _) = self.memory();
        work();
        let (_, peak) = self.memory();
        peak.saturating_sub(before)
    }

    /// Processor time that the process has used.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which may hold anything: utime and stime in ticks of 10 ms.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .map(|t| t.parse::<u64>().unwrap())
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Waits until a line of the access log holds `text`; gives the line.
    pub fn logged(&self, text: &str) -> String {
        eventually(text, || {
            let log = self.stdout();
            let line = log.lines().find(|l| l.contains(text));
            line.map(str::to_owned)
        })
    }

    /// Lets the process have no more than so many descriptors open from now on.
    pub fn limit_descriptors(&self, limit: u32) {
        let pid = self.child.id().to_string();
        // The soft limit alone can be raised again.
        let limit = format!("--nofile={limit}:");
        let prlimit = Command::new("prlimit")
            .args(["--pid", &pid, &limit])
            .status();
        assert!(prlimit.unwrap().success());
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the signal of that name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// A file in the folder of the configuration.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts another configuration in the place of the one that was read, at once.
    pub fn configure(&self, config: &str) {
        self.replace("weir.yaml", config.as_bytes());
    }

    /// Puts a file in the place of another, at once.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path("next"), bytes).unwrap();
        std::fs::rename(self.path("next"), self.path(name)).unwrap();
    }

    /// Asks for a reload; gives the answer.
    pub fn reload(&self) -> Response {
        self.admin_post("/reload")
    }

    /// Configures and reloads, which must succeed.
    pub fn reload_with(&self, config: &str) -> String {
        self.configure(config);
        let answer = self.reload();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// Where a listener is now, if there is one.
    pub fn current_listener(&self, name: &str) -> Option<SocketAddr> {
        let list = self.admin_get("/listeners").text();
        let mut lines = list.lines().filter_map(|line| line.split_once("::"));
        lines
            .find(|(n, _)| *n == name)
            .map(|(_, address)| reached(address))
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("Weir ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- Weir's log\n{}", self.log());
        }
    }
}

/// Starts `LAUNCHER… weir WORDS… weir.yaml` in `folder`. Where its admin is goes to a
/// file of its number; what it logs, behind what others have logged.
fn spawn(
    launcher: &[&str],
    folder: &Path,
    words: &[&str],
    environment: &[(&str, &str)],
    number: usize,
) -> Child {
    let open = |name: &str| {
        let options = File::options().create(true).append(true).clone();
        options.open(folder.join(name)).unwrap()
    };
    let weir = weir_binary();
    let mut command = match launcher {
        [] => Command::new(weir),
        [program, options @ ..] => {
            let mut command = Command::new(program);
            command.args(options).arg(weir);
            command
        }
    };
    command
        .args(words)
        .arg(folder.join("weir.yaml"))
        .arg("--admin-address-path")
        .arg(folder.join(format!("admin-{number}")))
        .env("WEIR_LOG", "info,pingora_core=warn,guest=debug")
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(open("stdout"))
        .stderr(open("log"))
        .spawn()
        .unwrap()
}

/// Where the admin of a process is, once it serves; or how it has ended.
fn ready(child: &mut Child, folder: &Path, number: usize) -> Result<SocketAddr, ExitStatus> {
    let file = folder.join(format!("admin-{number}"));
    eventually("Weir is ready", || {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(Err(status));
        }
        let text = std::fs::read_to_string(&file).ok()?;
        let address = text.strip_suffix('\n')?;
        let name = address.strip_prefix("unix:");
        Some(Ok(reached(name.unwrap_or(address))))
    })
}

/// Where a client by TCP finds what is at `address`, which may be a Unix socket.
fn reached(address: &str) -> SocketAddr {
    match address.parse() {
        Ok(address) => address,
        Err(_) => unix::reach(address),
    }
}

/// `weir`, to be run as a test wants it.
pub fn command() -> Command {
    Command::new(weir_binary())
}

/// Runs `weir ARGS…` in `folder` to its end.
pub fn run(folder: &Path, args: &[&str]) -> Output {
    command()
        .args(args)
        .current_dir(folder)
        .env("WEIR_LOG", "off")
        // Not that of whoever runs the tests.
        .env("DOCKER_CONFIG", folder)
        .output()
        .unwrap()
}

/// Runs `weir check` on `config` in a folder that `files` has filled; gives
/// whether it passed, and all it printed.
pub fn check(config: &str, files: impl FnOnce(&Path)) -> (bool, String) {
    check_env(config, &[], files)
}

/// [`check`], with further variables in the environment.
pub fn check_env(
    config: &str,
    environment: &[(&str, &str)],
    files: impl FnOnce(&Path),
) -> (bool, String) {
    let folder = TempDir::new().unwrap();
    files(folder.path());
    std::fs::write(folder.path().join("weir.yaml"), config).unwrap();
    let output = Command::new(weir_binary())
        .args(["check", "weir.yaml"])
        .current_dir(folder.path())
        .env("WEIR_LOG", "off")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}
