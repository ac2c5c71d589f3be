//! Tells what is going on, how long it took, and how it ended.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How a phase ended.
enum Outcome {
    Passed,
    Skipped(String),
    Failed,
}

struct Phase {
    name: &'static str,
    elapsed: Duration,
    outcome: Outcome,
}

/// A run of several phases, each of which is tried whatever became of the others.
pub(crate) struct Progress {
    started: Instant,
    phases: Vec<Phase>,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            phases: Vec::new(),
        }
    }

    /// Runs a phase. What it could not do for want of a tool it returns, in words
    /// for the summary.
    pub(crate) fn phase(&mut self, name: &'static str, work: impl FnOnce() -> Result<Vec<String>>) {
        println!("\n==> {name}");
        let started = Instant::now();
        let outcome = match work() {
            Ok(skipped) if skipped.is_empty() => Outcome::Passed,
            Ok(skipped) => Outcome::Skipped(skipped.join("; ")),
            Err(error) => {
                eprintln!("error: {error:#}");
                Outcome::Failed
            }
        };
        let phase = Phase {
            name,
            elapsed: started.elapsed(),
            outcome,
        };
        println!("    {phase}");
        self.phases.push(phase);
    }

    /// Prints the summary.
    ///
    /// # Errors
    ///
    /// If a phase failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\nSummary");
        for phase in &self.phases {
            println!("    {phase}");
        }
        println!("    {} in all", elapsed(self.started.elapsed()));
        let failed = self
            .phases
            .iter()
            .filter(|phase| matches!(phase.outcome, Outcome::Failed));
        match failed.map(|phase| phase.name).collect::<Vec<_>>()[..] {
            [] => Ok(()),
            ref names => bail!("failed: {}", names.join(", ")),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            elapsed: duration,
            outcome,
        } = self;
        let duration = elapsed(*duration);
        match outcome {
            Outcome::Passed => write!(f, "ok       {name} ({duration})"),
            Outcome::Skipped(what) => write!(f, "PARTLY   {name} ({duration}): {what}"),
            Outcome::Failed => write!(f, "FAILED   {name} ({duration})"),
        }
    }
}

/// Does one step and says how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("  - {what}");
    let started = Instant::now();
    let result = work()?;
    println!("    done in {}", elapsed(started.elapsed()));
    Ok(result)
}

/// A duration as a person says it.
fn elapsed(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        assert_eq!(elapsed(Duration::from_millis(3140)), "3.1 s");
        assert_eq!(elapsed(Duration::from_secs(605)), "10 min 05 s");
    }

    #[test]
    fn failed_phase_fails_the_run_and_the_others_still_run() {
        let mut progress = Progress::start();
        let mut ran = false;
        progress.phase("first", || bail!("no"));
        progress.phase("second", || {
            ran = true;
            Ok(Vec::new())
        });
        assert!(ran);
        let failure = progress.finish().map_err(|error| error.to_string());
        assert_eq!(failure, Err("failed: first".to_owned()));
    }

    #[test]
    fn skipped_parts_do_not_fail_the_run() {
        let mut progress = Progress::start();
        progress.phase("first", || Ok(vec!["no go".to_owned()]));
        assert!(progress.finish().is_ok());
    }
}
