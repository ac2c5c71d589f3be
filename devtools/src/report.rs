//! What tests have come to, for people and for machines.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure;

/// An expectation that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Where it stands: `FILE:LINE:COLUMN`.
    pub(crate) place: String,
    /// What it is about.
    pub(crate) subject: String,
    /// What was expected; empty when `subject` says all of it.
    pub(crate) expected: String,
    /// What was found instead.
    pub(crate) actual: String,
}

/// How a test has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All expectations hold.
    Passed,
    /// Some do not.
    Failed(Vec<Failure>),
    /// It was not to be run.
    Ignored,
}

/// One test.
#[derive(Debug, Clone)]
pub(crate) struct TestResult {
    /// Its name.
    pub(crate) name: String,
    /// Its end.
    pub(crate) verdict: Verdict,
    /// What the filter has logged, and a trace if one was asked for.
    pub(crate) output: String,
    /// What a benchmark has measured.
    pub(crate) measured: Vec<Measured>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Something that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    /// What.
    pub(crate) name: String,
    /// Nanoseconds of the round in the middle.
    pub(crate) nanoseconds: u64,
    /// Rounds that were measured.
    pub(crate) rounds: usize,
}

/// All tests of a suite.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// In the order of the suite.
    pub(crate) tests: Vec<TestResult>,
    /// How long all of it took.
    pub(crate) took: Duration,
}

impl Failure {
    pub(crate) fn text(&self) -> String {
        let Self {
            place,
            subject,
            expected,
            actual,
        } = self;
        let mut text = format!("{place}: {subject}\n");
        if !(expected.is_empty() && actual.is_empty()) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  expected: {expected}\n    actual: {actual}");
        }
        text
    }
}

impl TestResult {
    /// `test NAME ... ok`, as `cargo test` shows it.
    #[must_use]
    pub(crate) fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Passed => "ok",
            Verdict::Failed(_) => "FAILED",
            Verdict::Ignored => "ignored",
        };
        let mut line = format!("test {} ... {verdict}", self.name);
        for Measured {
            name,
            nanoseconds,
            rounds,
        } in &self.measured
        {
            let time = measure::shown(*nanoseconds);
            // Writing to a string cannot fail.
            let _ = write!(
                line,
                "\nbench {}/{name} ... {time} ({rounds} rounds)",
                self.name
            );
        }
        line
    }
}

impl Report {
    /// Whether every test passed that was run.
    #[must_use]
    pub(crate) fn passed(&self) -> bool {
        self.failed().next().is_none()
    }

    fn failed(&self) -> impl Iterator<Item = (&TestResult, &Vec<Failure>)> {
        self.tests.iter().filter_map(|test| match &test.verdict {
            Verdict::Failed(failures) => Some((test, failures)),
            Verdict::Passed | Verdict::Ignored => None,
        })
    }

    /// The failures and the sum, as `cargo test` shows them below its lines.
    #[must_use]
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        if !self.passed() {
            text.push_str("\nfailures:\n");
            for (test, failures) in self.failed() {
                let _ = writeln!(text, "\n---- {} ----", test.name);
                failures
                    .iter()
                    .for_each(|failure| text.push_str(&failure.text()));
                if !test.output.is_empty() {
                    let _ = write!(text, "what the filter did:\n{}", test.output);
                }
            }
            text.push_str("\nfailures:\n");
            for (test, _) in self.failed() {
                let _ = writeln!(text, "    {}", test.name);
            }
        }
        let failed = self.failed().count();
        let count = |verdict: fn(&Verdict) -> bool| {
            self.tests.iter().filter(|t| verdict(&t.verdict)).count()
        };
        let passed = count(|v| *v == Verdict::Passed);
        let ignored = count(|v| *v == Verdict::Ignored);
        let result = if failed == 0 { "ok" } else { "FAILED" };
        let _ = writeln!(
            text,
            "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; \
             finished in {:.2}s",
            self.took.as_secs_f64()
        );
        text
    }
}
