//! Where and with what was measured.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::{load, server};
use crate::envoy;
use crate::process::output_of;

pub(super) fn describe() -> Result<Value> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism()?;
    let first_line = |command: &mut Command| {
        let told = command.output().ok();
        let told = told.map(|told| [told.stdout, told.stderr].concat());
        let told = String::from_utf8_lossy(&told.unwrap_or_default()).into_owned();
        told.lines()
            .find(|line| !line.is_empty())
            .unwrap_or("?")
            .trim()
            .to_owned()
    };
    let version = |program: &str| output_of(Command::new(program).arg("--version"));
    let envoy = version(&envoy::find()?.display().to_string()).unwrap_or_default();
    let nginx = Command::new("nginx")
        .arg("-v")
        .env("PATH", server::path_with_sbin())
        .output()
        .map(|told| String::from_utf8_lossy(&told.stderr).trim().to_owned());
    Ok(json!({
        "date": output_of(Command::new("date").args(["-u", "+%F"])).unwrap_or_default(),
        "processor": format!("{model}, {cores} cores; the proxy on one, load and upstream on another"),
        "system": first_line(Command::new("uname").args(["-srm"])),
        "Weir": version(&server::weir()).unwrap_or_default(),
        "commit": commit(),
        "Envoy": envoy.rsplit(": ").next().unwrap_or_default().trim(),
        "nginx": nginx.unwrap_or_default(),
        "load": format!("{}, weir-load", load::versions()),
        "compiler": first_line(Command::new("rustc").arg("--version")),
    }))
}

/// As long as it lives, processors wait for work without an idle state, where the system
/// lets a program ask for that (Linux' PM quality of service).
///
/// Who writes to a socket wakes whoever waits for it at the other end. If that one's
/// processor has meanwhile gone idle, this takes microseconds, on virtual machines many,
/// and it is the proxy that pays for them: the oftener, the more time it leaves those at
/// its ends to fall asleep, whatever it does itself.
pub(super) struct Awake(Option<File>);

impl Awake {
    pub(super) fn new() -> Self {
        let file = File::options().write(true).open("/dev/cpu_dma_latency");
        let asked = file.and_then(|mut file| {
            // Microseconds that it may take to come out of an idle state.
            file.write_all(&0_i32.to_ne_bytes())?;
            Ok(file)
        });
        Self(asked.ok())
    }

    pub(super) fn describe(&self) -> &'static str {
        match self.0 {
            Some(_) => "kept out of, by /dev/cpu_dma_latency",
            None => "as the system has them",
        }
    }
}

/// What the measured program was built of.
fn commit() -> String {
    if server::is_given() {
        let sum = output_of(Command::new("sha256sum").arg(server::weir()));
        let sum = sum.as_deref().and_then(|sum| sum.get(..12)).unwrap_or("?");
        return format!("that of the program that was given (SHA-256 {sum}...)");
    }
    let head = output_of(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    head.unwrap_or_default()
}
