//! What requests notice while the code of many filters is swapped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_conformance::Client;
use weir_load::Outcome;
use weir_stress::Weir;

use crate::gateway::{Programs, load, median};

/// Between two requests of one of the eight connections: 2000 a second.
const PACE: Duration = Duration::from_millis(4);

/// A module that does the same as `code`, and is another.
fn variant(code: &[u8], number: usize) -> Vec<u8> {
    let name = format!("variant-{number:012}");
    let section = [&[0, 21, 20], name.as_bytes()].concat();
    [code, &section].concat()
}

fn write(weir: &Weir, code: &[u8], modules: usize, round: usize) -> Result<()> {
    for number in 0..modules {
        let module = variant(code, round * modules + number);
        weir.replace(&format!("m{number}.wasm"), &module)?;
    }
    Ok(())
}

pub(crate) fn run(programs: &Programs, modules: usize, rounds: usize, seconds: u64) -> Result<()> {
    let weir = start(programs, modules)?;
    let (mut ratios, mut took) = (Vec::new(), Vec::new());
    let mut round = 0;
    for _ in 0..rounds {
        let before = load(&weir, "healthy", seconds, PACE)?;
        let over = AtomicBool::new(false);
        let during = thread::scope(|scope| -> Result<Outcome> {
            let (weir, over, first) = (&weir, &over, round);
            let reloads = scope.spawn(move || -> Result<(usize, Vec<f64>)> {
                let (mut round, mut took) = (first, Vec::new());
                let mut admin = Client::connect_as(weir.admin(), "localhost");
                while !over.load(Ordering::Relaxed) {
                    round += 1;
                    write(weir, programs.hello(), modules, round)?;
                    let began = Instant::now();
                    let answer = admin.request("POST", "/reload", &[], b"");
                    ensure!(answer.status == 200, "{}", answer.text());
                    took.push(began.elapsed().as_secs_f64());
                }
                Ok((round, took))
            });
            let during = load(weir, "healthy", seconds, PACE);
            over.store(true, Ordering::Relaxed);
            let reloads = reloads.join();
            let (last, times) =
                reloads.map_err(|_| anyhow::anyhow!("the reloads have panicked"))??;
            round = last;
            took.extend(times);
            during
        })?;
        let p99 = |outcome: &Outcome| outcome.latencies.percentile(99).as_secs_f64() * 1e3;
        let (before, during) = (p99(&before), p99(&during));
        println!("p99 {before:.2} ms, during reloads {during:.2} ms");
        ratios.push(during / before);
    }
    println!(
        "{} reloads of {modules} modules, {:.2} s each (median); p99 during them {:.2} of that \
         without (median of {rounds}); no request failed",
        took.len(),
        median(took),
        median(ratios),
    );
    Ok(())
}

fn start(programs: &Programs, modules: usize) -> Result<Weir> {
    let mut filters = String::new();
    for number in 0..modules {
        filters += &format!(
            "  - {{ name: f{number}, wasm: {{ configuration: {{ request: a, response: b }}, \
             vm_config: {{ vm_id: v{number}, code: {{ local: {{ filename: m{number}.wasm }} }} \
             }} }} }}\n"
        );
    }
    let configuration = format!(
        "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: healthy\n  \
         address: 127.0.0.1:0\n  http_filters:\n{filters}  \
         routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        programs.upstream()
    );
    let code = |number| (format!("m{number}.wasm"), variant(programs.hello(), number));
    let files: Vec<_> = (0..modules).map(code).collect();
    let files: Vec<_> = files.iter().map(|(n, b)| (n.as_str(), &b[..])).collect();
    Weir::start(programs.weir(), &configuration, &files)
}
