//! `cargo xtask sidecars`: what a call from one service to another costs that passes the
//! sidecars of both, Weir's and Envoy's with the same bootstrap, and without any.
//!
//! Each has two machines to itself, which are network namespaces, and all of them are
//! loaded in turn.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::load::{self, Paced};
use super::measure::turns;
use super::server::{Memory, memory_of, path_with_sbin};
use super::{LOAD_CORE, PROXY_CORE, build, machine};
use crate::process::Running;
use crate::progress::step;
use crate::{debian, envoy, layout};

/// The service, as its clients call it.
const SERVICE: &str = "10.77.0.2:8080";

/// The user that sidecars are.
const USER: &str = "1337";

/// How long a sidecar may take until it serves.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);

const PACKAGES: [&str; 2] = ["iproute2", "iptables"];

/// What stands between the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Weir,
    Envoy,
}

const ALL: [Between; 3] = [Between::Nothing, Between::Weir, Between::Envoy];

impl Between {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Weir => "Weir",
            Self::Envoy => "Envoy",
        }
    }
}

struct Extent {
    rounds: usize,
    seconds: u64,
    rate: u32,
}

impl Extent {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut extent = Self {
            rounds: 7,
            seconds: 4,
            rate: 1000,
        };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let text = arguments
                .next()
                .with_context(|| format!("{argument} of what?"))?;
            let number: u32 = text
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .with_context(|| format!("{argument} {text}: not a number from 1"))?;
            match argument {
                "--rounds" => extent.rounds = number as usize,
                "--seconds" => extent.seconds = number.into(),
                "--rate" => extent.rate = number,
                other => bail!("sidecars has no {other}"),
            }
        }
        Ok(extent)
    }
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let extent = Extent::parse(arguments)?;
    debian::install(&PACKAGES)?;
    build()?;
    let pairs = ALL.map(Pair::start);
    let pairs = pairs.into_iter().collect::<Result<Vec<_>>>()?;
    thread::sleep(IDLE);
    let idle = pairs.iter().map(Pair::memory).collect::<Result<Vec<_>>>()?;
    let mut paced: Vec<Vec<Paced>> = pairs.iter().map(|_| Vec::new()).collect();
    // Warms up.
    for pair in &pairs {
        pair.load(&extent, 1)?;
    }
    step("calling through sidecars", || {
        for number in turns(extent.rounds, pairs.len()) {
            paced[number].push(pairs[number].load(&extent, extent.seconds)?);
        }
        Ok(())
    })?;
    println!("{}", machine::describe()?);
    println!("\n| | none | Weir | Envoy | Weir / Envoy, added |\n|---|---|---|---|---|");
    for (what, of) in [
        ("p50", (|p| p.p50) as fn(&Paced) -> Duration),
        ("p99", |p| p.p99),
    ] {
        let median = |paced: &Vec<Paced>| {
            let mut all: Vec<_> = paced.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2].as_micros()
        };
        let [none, weir, envoy] = [0, 1, 2].map(|number| median(&paced[number]));
        let added = weir.saturating_sub(none) as f64 / envoy.saturating_sub(none).max(1) as f64;
        println!("| {what}, us | {none} | {weir} | {envoy} | {added:.2} |");
    }
    let after = pairs.iter().map(Pair::memory).collect::<Result<Vec<_>>>()?;
    for (what, memory) in [("idle", idle), ("after the load", after)] {
        let mib = |number: usize| {
            memory[number]
                .as_ref()
                .map_or(0.0, |m| m.now as f64 / 1_048_576.0)
        };
        let (weir, envoy) = (mib(1), mib(2));
        println!(
            "| memory of one sidecar, {what}, MiB | | {weir:.1} | {envoy:.1} | {:.2} |",
            weir / envoy
        );
    }
    println!(
        "\nMedians of {} rounds of {} s each, {} requests a second on 64 connections.",
        extent.rounds, extent.seconds, extent.rate
    );
    Ok(())
}

/// Two machines: a client, and a service.
struct Pair {
    between: Between,
    client: Machine,
    // Ends before its machine does.
    _server: Running,
    _service: Machine,
    sidecars: Vec<Running>,
    _folder: Folder,
}

impl Pair {
    fn start(between: Between) -> Result<Self> {
        let (client, service) = (Machine::new(between, "a")?, Machine::new(between, "b")?);
        let (a, b) = (&client.name, &service.name);
        system(&format!(
            "ip link add eth0 netns {a} type veth peer name eth0 netns {b}"
        ))?;
        for (machine, address) in [(&client, "10.77.0.1"), (&service, "10.77.0.2")] {
            machine.run(&format!("ip addr add {address}/24 dev eth0"))?;
            machine.run("ip link set eth0 up")?;
        }
        let folder = Folder::new(between)?;
        let mut sidecars = Vec::new();
        if between != Between::Nothing {
            let weir = super::server::weir();
            for machine in [&client, &service] {
                machine.run(&format!(
                    "{weir} sidecar iptables --apply --ip-families ipv4"
                ))?;
                sidecars.push(machine.sidecar(between, &folder.0)?);
            }
        }
        let server = service.server()?;
        Ok(Self {
            between,
            client,
            _server: server,
            _service: service,
            sidecars,
            _folder: folder,
        })
    }

    fn load(&self, extent: &Extent, seconds: u64) -> Result<Paced> {
        let ask = ["ask", SERVICE, "--rate", &extent.rate.to_string()].map(str::to_owned);
        let mut command = self.client.inside(&["taskset", "-c", LOAD_CORE]);
        command.arg(load::program()).args(ask);
        command.args(["--seconds", &seconds.to_string()]);
        let paced = load::paced_by(&mut command)?;
        ensure!(
            paced.requests > 0 && paced.failed == 0,
            "{} of {} requests have failed with {} between",
            paced.failed,
            paced.requests,
            self.between.name()
        );
        Ok(paced)
    }

    /// Of the client's sidecar, if there is one.
    fn memory(&self) -> Result<Option<Memory>> {
        let first = self.sidecars.first();
        first.map(|sidecar| memory_of(sidecar.0.id())).transpose()
    }
}

/// A network namespace, which is removed when this is dropped.
struct Machine {
    name: String,
}

impl Machine {
    fn new(between: Between, name: &str) -> Result<Self> {
        let name = format!(
            "weir-bench-{}-{}-{name}",
            id(),
            between.name().to_lowercase()
        );
        system(&format!("ip netns add {name}"))?;
        let machine = Self { name };
        machine.run("ip link set lo up")?;
        Ok(machine)
    }

    /// `WORDS…`, to be run there. It ends when this program does, in whatever way.
    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "--",
            "ip",
            "netns",
            "exec",
            &self.name,
        ]);
        command.args(words).env("PATH", path_with_sbin());
        command
    }

    fn run(&self, command: &str) -> Result<()> {
        system(&format!("ip netns exec {} {command}", self.name))
    }

    fn sidecar(&self, between: Between, folder: &Path) -> Result<Running> {
        let config = folder.join("bootstrap.yaml");
        fs::write(&config, include_str!("sidecars.yaml"))?;
        let mut command = self.inside(&["setpriv", "--reuid", USER, "--regid", USER]);
        command.args(["--clear-groups", "--", "taskset", "-c", PROXY_CORE]);
        match between {
            Between::Envoy => {
                command.arg(envoy::find()?);
                command.args(["--use-dynamic-base-id", "-c"]).arg(&config);
            }
            _ => {
                command
                    .args([&super::server::weir(), "envoy", "-c"])
                    .arg(&config);
            }
        }
        command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "error"]);
        let log = File::create(folder.join(format!("{}.log", self.name)))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start programs by setpriv of util-linux and ip of iproute2")?;
        let running = Running(child);
        self.wait_for(15006)?;
        Ok(running)
    }

    fn server(&self) -> Result<Running> {
        let mut command = self.inside(&["taskset", "-c", LOAD_CORE]);
        command
            .arg(load::program())
            .args(["upstream", "--address", "0.0.0.0:8080"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut String::new())?;
        }
        Ok(Running(child))
    }

    /// Returns when somebody listens at this port there.
    fn wait_for(&self, port: u16) -> Result<()> {
        let began = Instant::now();
        let filter = format!("sport = :{port}");
        while began.elapsed() < PATIENCE {
            let output = self.inside(&["ss", "-Hltn", &filter]).output()?;
            if !output.stdout.is_empty() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("nobody listens at port {port} of {}", self.name)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = system(&format!("ip netns delete {}", self.name));
    }
}

/// A folder that every user may read, removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(between: Between) -> Result<Self> {
        let name = format!("sidecars-{}-{}", id(), between.name().to_lowercase());
        let path = layout::logs().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn system(command: &str) -> Result<()> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program)
        .args(words)
        .env("PATH", path_with_sbin())
        .output()
        .with_context(|| format!("cannot start `{program}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{command}`: {} (networks take root)",
        said.trim()
    );
    Ok(())
}
