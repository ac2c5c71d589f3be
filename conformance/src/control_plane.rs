//! A management server as a process: go-control-plane.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value as Json, json};

use super::{eventually, program};

/// The node whose resources it has.
const NODE: &str = "weir";

/// A running management server; killed when dropped.
pub struct ControlPlane {
    child: Child,
    commands: ChildStdin,
    events: Arc<Mutex<Vec<Json>>>,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl ControlPlane {
    /// One that has these resources: lists of `clusters`, `endpoints`, `listeners`,
    /// `routes`, `secrets`, `extension_configs`.
    pub fn start(resources: &Json) -> Self {
        let server = Self::start_at("127.0.0.1:0", &[]);
        let mut server = server.expect("the management server does not start");
        server.set(resources);
        server
    }

    /// One without resources, at this address, started with more arguments; `None` if it
    /// has ended.
    pub fn start_at(address: &str, args: &[&str]) -> Option<Self> {
        let mut command = program("control-plane");
        command.args(["--tcp", address]).args(args);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let commands = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let events: Arc<Mutex<Vec<Json>>> = Arc::default();
        let told = Arc::clone(&events);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap();
                told.lock().unwrap().push(event);
            }
        });
        let mut server = Self {
            child,
            commands,
            events,
            address: String::new(),
        };
        server.address = eventually("the management server listens", || {
            let ended = server.child.try_wait().unwrap().is_some();
            let ready = server.find(|event| event["event"] == "ready");
            let address = ready.map(|event| event["tcp"].as_str().unwrap().to_owned());
            address.map(Some).or(ended.then_some(None))
        })?;
        Some(server)
    }

    /// What it has told so far.
    pub fn events(&self) -> Vec<Json> {
        self.events.lock().unwrap().clone()
    }

    fn find(&self, is_it: impl Fn(&Json) -> bool) -> Option<Json> {
        self.events().into_iter().find(is_it)
    }

    fn command(&mut self, command: &Json) {
        let before = self.events().len();
        writeln!(self.commands, "{command}").unwrap();
        eventually("the management server obeys", || {
            let events = self.events();
            let new = events.iter().skip(before);
            let mut failed = new.clone().filter(|event| event["event"] == "failed");
            assert!(failed.next().is_none(), "{events:#?}");
            let mut done = new.filter(|event| event["event"] == "done");
            done.next().map(|_| ())
        });
    }

    /// These resources it has, and no others.
    pub fn set(&mut self, resources: &Json) {
        self.command(&json!({ "command": "set", "node": NODE, "resources": resources }));
    }

    /// These resources it has besides, or in the place of those of the same name.
    pub fn update(&mut self, resources: &Json) {
        self.command(&json!({ "command": "update", "node": NODE, "resources": resources }));
    }

    /// What it has no longer: names by the kinds of [`Self::start`].
    pub fn remove(&mut self, names: &Json) {
        self.command(&json!({ "command": "update", "node": NODE, "remove": names }));
    }

    /// Waits for so many answers of a kind about a type, such as `Listener`, and gives the
    /// last.
    pub fn answer(&self, kind: &str, of_type: &str, count: usize) -> Json {
        eventually(&format!("{count} {kind} of {of_type}"), || {
            let mut all = self.answers(kind, of_type);
            (all.len() >= count).then(|| all.swap_remove(count - 1))
        })
    }

    /// How many answers of a kind there were about a type.
    pub fn count(&self, kind: &str, of_type: &str) -> usize {
        self.answers(kind, of_type).len()
    }

    fn answers(&self, kind: &str, of_type: &str) -> Vec<Json> {
        let end = format!(".{of_type}");
        let is_one = |event: &Json| {
            let url = event["type_url"].as_str().unwrap_or_default();
            event["event"] == kind && url.ends_with(&end)
        };
        self.events().into_iter().filter(is_one).collect()
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until something has been refused so often, and gives why.
    pub fn nack(&self, of_type: &str, count: usize) -> String {
        let nack = self.answer("nack", of_type, count);
        nack["message"].as_str().unwrap().to_owned()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            for event in self.events() {
                eprintln!("control plane: {event}");
            }
        }
    }
}

/// Envoy's bootstrap for a proxy that gets all from a server at `address`, by deltas or
/// by the state of the world; with these further fields.
pub fn xds_bootstrap(address: &str, api_type: &str, more: &Json) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let port: u16 = port.parse().unwrap();
    let at = |host: &str, port: u16| json!({ "socket_address": { "address": host, "port_value": port } });
    let source = json!({ "ads": {}, "resource_api_version": "V3" });
    let mut bootstrap = json!({
        "node": { "id": NODE, "cluster": "tests" },
        "admin": { "address": at("127.0.0.1", 0) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }],
            },
            "lds_config": source,
            "cds_config": source,
        },
        "static_resources": { "clusters": [{
            "name": "xds",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": "xds",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": at(host, port) } }] }],
            },
        }] },
    });
    merge(&mut bootstrap, more);
    bootstrap.to_string()
}

fn merge(into: &mut Json, from: &Json) {
    match (into, from) {
        (Json::Object(into), Json::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Json::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
