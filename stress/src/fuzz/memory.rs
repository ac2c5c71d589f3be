//! What the process may use, guests' memories included.

use std::fmt;
use std::fs;

const MIB: usize = 1 << 20;

/// Above what there was at first: the most that a guest can have the host keep
/// (a body, header maps, what callouts send) and its own memory.
const PEAK: usize = 768 * MIB;
/// What may stay, in the end, of what rounds have used.
const REST: usize = 192 * MIB;
/// Rounds after which the allocator has what it needs.
const WARM: u64 = 200;
/// How often the rest is looked at.
const EVERY: u64 = 500;

/// Checks resident memory after each round.
pub(crate) struct Bound {
    first: usize,
    warm: Option<usize>,
    rounds: u64,
    peak: usize,
    now: usize,
}

impl Bound {
    pub(crate) fn new() -> Self {
        let first = read("VmRSS:");
        Self {
            first,
            warm: None,
            rounds: 0,
            peak: first,
            now: first,
        }
    }

    pub(crate) fn check(&mut self) -> Result<(), String> {
        self.rounds += 1;
        self.peak = read("VmHWM:");
        self.now = read("VmRSS:");
        if self.peak > self.first + PEAK {
            return Err(format!("it took too much memory: {self}"));
        }
        if self.rounds == WARM {
            self.warm = Some(self.now);
        }
        match self.warm {
            Some(warm) if self.rounds.is_multiple_of(EVERY) && self.now > warm + REST => {
                Err(format!("memory grows from round to round: {self}"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes / MIB;
        write!(f, "{} MiB at first, ", mib(self.first))?;
        if let Some(warm) = self.warm {
            write!(f, "{} MiB when warm, ", mib(warm))?;
        }
        write!(
            f,
            "{} MiB now, {} MiB at most",
            mib(self.now),
            mib(self.peak)
        )
    }
}

/// A figure of this process, in bytes; 0 where there is none.
fn read(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}
