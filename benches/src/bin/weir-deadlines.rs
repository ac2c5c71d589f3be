//! `weir-deadlines`: what it costs a filter that it can be ended.
//!
//! One filter that does nothing but work on strings, `redact`, is compiled for each
//! way of finding out that a callback takes too long, and for none. They take turns
//! at the same body; the ratios are those of one run.

#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use weir_abi::{Deadline, Direction, HttpMap, Module, PluginConfig, Stream as _, Vm, VmConfig};
use weir_benches::memory::{MemoryHost, MemoryStream};

/// Measures what deadlines cost a filter.
#[derive(Parser)]
struct Arguments {
    /// The module of the filter redact.
    #[arg(long)]
    redact: PathBuf,
    /// Rounds, in each of which every way has its turn.
    #[arg(long, default_value_t = 41)]
    rounds: usize,
}

const CONFIGURATION: &str = r#"{"rules": [
    {"detect": "credit_card", "keep_last": 4},
    {"detect": "email", "replacement": "[email]"},
    {"detect": "bearer_token"}], "content_types": ["*"]}"#;

const WAYS: [(&str, Deadline); 3] = [
    ("off", Deadline::Off),
    ("watchdog", Deadline::Watchdog),
    ("counter", Deadline::Counter),
];

/// Bodies of a turn.
const BODIES: usize = 20;

/// A body of 64 KiB in which there is something to be found now and then.
fn body() -> Bytes {
    let line = "{\"id\": 4711, \"name\": \"Ada\", \"mail\": \"ada@example.com\", \
                \"note\": \"nothing of interest here, and nothing to be hidden\"},\n";
    line.bytes().cycle().take(64 * 1024).collect()
}

struct Rig {
    vm: Vm,
    root: weir_abi::ContextId,
}

impl Rig {
    fn start(wasm: &[u8], deadline: Deadline) -> Result<Self, String> {
        let module = Module::compile_for(wasm, deadline).map_err(|e| e.to_string())?;
        let vm = Vm::new(&module, VmConfig::default(), Rc::new(MemoryHost));
        let vm = vm.map_err(|e| e.to_string())?;
        let plugin = PluginConfig {
            name: "bench".to_owned(),
            configuration: CONFIGURATION.into(),
            ..PluginConfig::default()
        };
        let root = vm.start_plugin(plugin).map_err(|e| e.to_string())?;
        Ok(Self { vm, root })
    }

    /// Has one body looked at; gives what is left of it.
    fn serve(&self, body: &Bytes) -> Option<Bytes> {
        let stream = Rc::new(MemoryStream::default());
        let _ = stream.headers(HttpMap::ResponseHeaders)?;
        stream.set_response_body(body.clone());
        let shared = Rc::clone(&stream);
        let context = self.vm.create_stream(self.root, shared, 0).ok()?;
        self.vm.on_request_headers(context, true).ok()?;
        self.vm.on_response_headers(context, false).ok()?;
        let size = body.len();
        let direction = Direction::Response;
        self.vm.on_body(context, direction, size, true).ok()?;
        self.vm.on_log(context).ok()?;
        self.vm.delete_stream(context).ok()?;
        let left = stream.body(0, direction)?;
        Some(left.to_bytes())
    }

    fn turn(&self, body: &Bytes) -> Duration {
        let began = Instant::now();
        for _ in 0..BODIES {
            self.serve(body);
        }
        began.elapsed() / u32::try_from(BODIES).unwrap_or(1)
    }
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let path = &arguments.redact;
    let wasm = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let body = body();
    let mut rigs = Vec::new();
    for (name, deadline) in WAYS {
        let rig = Rig::start(&wasm, deadline)?;
        let served = rig.serve(&body).ok_or("the filter has failed")?;
        if served.windows(7).any(|w| w == b"example") {
            return Err(format!("{name}: the filter has hidden nothing"));
        }
        rigs.push((name, rig, Vec::new(), Vec::new()));
    }
    for _ in 0..arguments.rounds {
        let mut off = f64::NAN;
        for (_, rig, times, ratios) in &mut rigs {
            let time = rig.turn(&body).as_secs_f64();
            if off.is_nan() {
                off = time;
            }
            times.push(time);
            ratios.push(time / off);
        }
    }
    println!(
        "{} bytes of a body through redact, medians of {} rounds",
        body.len(),
        arguments.rounds
    );
    for (name, _, times, ratios) in &mut rigs {
        let (micros, ratio) = (median(times) * 1e6, median(ratios));
        println!("{name:<10} {micros:>8.1} us {ratio:>6.3}");
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}
