//! `cargo xtask discovery`: what it costs to get 5,000 clusters, 10,000 routes and 20,000
//! endpoints from a management server, and another endpoint now and then; Weir and Envoy
//! with the same server and the same bootstrap, one after the other, several times.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::server::{Memory, cpu_time_of, memory_of, weir};
use super::{LOAD_CORE, PROXY_CORE, build, machine};
use crate::process::Running;
use crate::progress::step;
use crate::{envoy, layout, programs};

const NODE: &str = "bench";

/// Times that each is started.
const STARTS: usize = 3;

/// Endpoints that become others, one after the other.
const UPDATES: usize = 100;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One figure of a run.
type Of = fn(&Run) -> f64;

/// What one start has shown.
struct Run {
    ready: Duration,
    cpu: Duration,
    memory: Memory,
    update: Duration,
}

pub(crate) fn run() -> Result<()> {
    build()?;
    let missing = programs::install();
    ensure!(missing.is_empty(), "{}", missing.join("; "));
    let mut runs = [Vec::new(), Vec::new()];
    step("following a management server", || {
        for _ in 0..STARTS {
            for (is_envoy, runs) in [false, true].into_iter().zip(&mut runs) {
                runs.push(start(is_envoy)?);
            }
        }
        Ok(())
    })?;
    println!("{}", machine::describe()?);
    println!("\n| | Weir | Envoy | Weir / Envoy |\n|---|---|---|---|");
    let rows: [(&str, Of); 5] = [
        ("until it is ready, s", |run| run.ready.as_secs_f64()),
        ("CPU until then, s", |run| run.cpu.as_secs_f64()),
        ("memory, MiB", |run| run.memory.now as f64 / 1_048_576.0),
        ("its peak, MiB", |run| run.memory.peak as f64 / 1_048_576.0),
        ("CPU of another endpoint, ms", |run| {
            run.update.as_secs_f64() * 1e3
        }),
    ];
    for (what, of) in rows {
        let [weir, envoy] = [0, 1].map(|number: usize| {
            let mut all: Vec<_> = runs[number].iter().map(of).collect();
            all.sort_unstable_by(f64::total_cmp);
            all[all.len() / 2]
        });
        println!("| {what} | {weir:.2} | {envoy:.2} | {:.2} |", weir / envoy);
    }
    println!("\nMedians of {STARTS} starts with one worker; {UPDATES} other endpoints.");
    Ok(())
}

fn start(is_envoy: bool) -> Result<Run> {
    let mut server = ControlPlane::start()?;
    let scale = json!({ "listener": "127.0.0.1:0", "port": 1 });
    server.command(&json!({ "command": "scale", "node": NODE, "scale": scale }))?;
    let folder = layout::logs().join("discovery");
    fs::create_dir_all(&folder)?;
    let (config, admin) = (folder.join("bootstrap.json"), folder.join("admin"));
    fs::write(&config, bootstrap(&server.address).to_string())?;
    if admin.exists() {
        fs::remove_file(&admin)?;
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "taskset", "-c", PROXY_CORE]);
    if is_envoy {
        command.arg(envoy::find()?).arg("-c").arg(&config);
        command.args(["--disable-hot-restart", "--use-dynamic-base-id"]);
        command.args(["--log-level", "error"]);
    } else {
        command.args([&weir(), "run", "--envoy"]).arg(&config);
        command.env("WEIR_LOG", "error");
    }
    command.args(["--concurrency", "1", "--admin-address-path"]);
    let log = File::create(folder.join("log"))?;
    command
        .arg(&admin)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let began = Instant::now();
    let proxy = Running(
        command
            .stderr(log)
            .spawn()
            .context("cannot start the proxy")?,
    );
    let pid = proxy.0.id();
    until("the proxy is ready", || {
        let address = fs::read_to_string(&admin).ok()?.trim().parse().ok()?;
        is_ready(address).then_some(())
    })?;
    let (ready, cpu) = (began.elapsed(), cpu_time_of(pid)?.all());
    // What is let go of takes a moment.
    thread::sleep(Duration::from_secs(3));
    let before = cpu_time_of(pid)?;
    for number in 0..UPDATES {
        let cluster = format!("service-{}", number * 7);
        let command = json!({ "command": "move_endpoint", "node": NODE, "cluster": cluster });
        server.command(&command)?;
        server.wait_for("the answer to endpoints", |event| {
            let kind = event["type_url"].as_str().unwrap_or_default();
            event["event"] == "ack" && kind.ends_with("ClusterLoadAssignment")
        })?;
    }
    Ok(Run {
        ready,
        cpu,
        memory: memory_of(pid)?,
        update: (cpu_time_of(pid)? - before).all() / UPDATES as u32,
    })
}

fn bootstrap(address: &str) -> Value {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let at = |host: &str, port: &str| {
        let port: u16 = port.parse().unwrap_or_default();
        json!({ "socket_address": { "address": host, "port_value": port } })
    };
    let source = json!({ "ads": {}, "resource_api_version": "V3" });
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "node": { "id": NODE, "cluster": NODE },
        "admin": { "address": at("127.0.0.1", "0") },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }],
            },
            "lds_config": source,
            "cds_config": source,
        },
        "static_resources": { "clusters": [{
            "name": "xds",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": { options: {
                "@type": format!("type.googleapis.com/{options}"),
                "explicit_http_config": { "http2_protocol_options": {} },
            } },
            "load_assignment": {
                "cluster_name": "xds",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": at(host, port) } }] }],
            },
        }] },
    })
}

fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> Result<bool> {
        let mut stream = TcpStream::connect(admin)?;
        // The admin of Weir is asked for by its address alone.
        write!(
            stream,
            "GET /ready HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(value) = probe() {
            return Ok(value);
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("{what}: not in {PATIENCE:?}")
}

/// The management server of the tests.
struct ControlPlane {
    _process: Running,
    commands: ChildStdin,
    events: Receiver<Value>,
    address: String,
}

impl ControlPlane {
    fn start() -> Result<Self> {
        let program: PathBuf = layout::programs().join("control-plane");
        let mut child = Command::new("taskset")
            .args(["-c", LOAD_CORE])
            .arg(program)
            .args(["--tcp", "127.0.0.1:0", "--cache", "linear"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the management server")?;
        let commands = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let (told, events) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_default();
                if told.send(event).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            _process: Running(child),
            commands,
            events,
            address: String::new(),
        };
        let ready = server.wait_for("the management server", |e| e["event"] == "ready")?;
        server.address = ready["tcp"].as_str().unwrap_or_default().to_owned();
        Ok(server)
    }

    fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let event = self.events.recv_timeout(PATIENCE);
            let event = event.with_context(|| format!("{what}: nothing in {PATIENCE:?}"))?;
            ensure!(event["event"] != "nack", "the proxy refuses it: {event}");
            if is_it(&event) {
                return Ok(event);
            }
        }
    }

    fn command(&mut self, command: &Value) -> Result<()> {
        // What it has told of before is over.
        while self.events.try_recv().is_ok() {}
        writeln!(self.commands, "{command}")?;
        let is_answer = |event: &Value| event["event"] == "done" || event["event"] == "failed";
        let answer = self.wait_for("an answer", is_answer)?;
        ensure!(answer["event"] == "done", "{answer}");
        Ok(())
    }
}
