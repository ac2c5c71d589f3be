//! What tests have come to, for people and for machines.

use std::fmt::Write as _;
use std::time::Duration;

/// An expectation that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where it stands: `FILE:LINE:COLUMN`.
    pub place: String,
    /// What it is about.
    pub subject: String,
    /// What was expected; empty when `subject` says all of it.
    pub expected: String,
    /// What was found instead.
    pub actual: String,
}

/// How a test has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All expectations hold.
    Passed,
    /// Some do not.
    Failed(Vec<Failure>),
    /// It was not to be run.
    Ignored,
}

/// One test.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// Its end.
    pub verdict: Verdict,
    /// What the filter has logged, and a trace if one was asked for.
    pub output: String,
    /// How long it took.
    pub took: Duration,
}

/// All tests of a suite.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order of the suite.
    pub tests: Vec<TestResult>,
    /// How long all of it took.
    pub took: Duration,
}

impl Failure {
    fn text(&self) -> String {
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
    pub fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Passed => "ok",
            Verdict::Failed(_) => "FAILED",
            Verdict::Ignored => "ignored",
        };
        format!("test {} ... {verdict}", self.name)
    }
}

impl Report {
    /// Whether every test passed that was run.
    #[must_use]
    pub fn passed(&self) -> bool {
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
    pub fn summary(&self) -> String {
        let mut text = String::new();
        if !self.passed() {
            text.push_str("\nfailures:\n");
            for (test, failures) in self.failed() {
                let _ = writeln!(text, "\n---- {} ----", test.name);
                failures
                    .iter()
                    .for_each(|failure| text.push_str(&failure.text()));
                if !test.output.is_empty() {
                    let _ = write!(text, "the filter logged:\n{}", test.output);
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
