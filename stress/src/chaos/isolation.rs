//! What it costs that no stream shares an instance with another.

use std::time::Duration;

use anyhow::Result;

use crate::gateway::{PLAIN, Programs, load, median, rate};

const KINDS: [(&str, &str, &str); 3] = [
    ("none", "", "no filter"),
    ("worker", PLAIN, "hello, isolation: worker"),
    ("stream", "isolation: stream", "hello, isolation: stream"),
];

pub(crate) fn run(programs: &Programs, rounds: usize, seconds: u64) -> Result<()> {
    let listeners = KINDS.map(|(name, settings, _)| (name, settings));
    let weir = programs.start(1, &listeners)?;
    let mut seen: Vec<_> = KINDS.iter().map(|_| (Vec::new(), Vec::new())).collect();
    for _ in 0..rounds {
        let mut without = f64::NAN;
        for ((name, ..), (rates, ratios)) in KINDS.iter().zip(&mut seen) {
            let rate = rate(&load(&weir, name, seconds, Duration::ZERO)?);
            if without.is_nan() {
                without = rate;
            }
            rates.push(rate);
            ratios.push(rate / without);
        }
    }
    println!("requests/s of one worker, medians of {rounds} rounds of {seconds} s");
    for ((.., what), (rates, ratios)) in KINDS.iter().zip(seen) {
        let (rate, ratio) = (median(rates), median(ratios));
        println!("{what:<26} {rate:>8.0} {ratio:>6.2} {:>7.1} us", 1e6 / rate);
    }
    Ok(())
}
