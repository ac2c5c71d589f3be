//! Runs the tests of a suite.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use weir_abi::{Direction, Module, VmFailed};
use weir_config::Span;

use super::bench;
use super::phases::{Outcome, Phases};
use super::read::{Expectation, Rule, Steps, StringMatcher, Suite, Test};
use crate::driver::{Driver, LogLine, Observer, Setup, TestHost};
use crate::report::{Failure, TestResult, Verdict};
use crate::show;
use crate::suite::original;
use crate::test::Choice;

/// Runs the tests that are chosen, and tells of each when it has ended.
pub(crate) fn run(
    suite: &Suite,
    module: &Module,
    configuration: &[u8],
    choice: &Choice,
    mut each: impl FnMut(&TestResult),
) -> Vec<TestResult> {
    let tests = suite.tests.iter().filter(|test| choice.picks(&test.name));
    let mut results = Vec::new();
    for test in tests {
        let began = Instant::now();
        let mut run = Run {
            suite,
            failures: Vec::new(),
            output: String::new(),
        };
        let mut measured = Vec::new();
        match &test.body {
            Ok(steps) => {
                let setup = setup(suite, steps, configuration);
                if choice.tests {
                    run.test(test, steps, module, &setup, choice.trace);
                }
                if choice.benches && test.benchmark {
                    match bench::run(suite, steps, module, &setup) {
                        Ok(lines) => measured = lines,
                        Err(message) => run.fail(test.span, &message, "", ""),
                    }
                }
            }
            Err(errors) => run.invalid(errors),
        }
        let verdict = match run.failures.is_empty() {
            true if choice.tests => Verdict::Passed,
            true => Verdict::Ignored,
            false => Verdict::Failed(run.failures),
        };
        let result = TestResult {
            name: test.name.clone(),
            verdict,
            output: run.output,
            measured,
            took: began.elapsed(),
        };
        each(&result);
        results.push(result);
    }
    results
}

fn setup(suite: &Suite, steps: &Steps, configuration: &[u8]) -> Setup {
    let properties = steps.properties.iter().cloned();
    Setup {
        log_level: suite.log_level,
        now: suite.now,
        only_properties: Some(properties.collect()),
        ..Setup::new("test", configuration.to_vec())
    }
}

struct Run<'s> {
    suite: &'s Suite,
    failures: Vec<Failure>,
    output: String,
}

impl Run<'_> {
    fn fail(&mut self, span: Span, subject: &str, expected: &str, actual: &str) {
        self.failures.push(Failure {
            place: self.suite.place(span),
            subject: subject.to_owned(),
            expected: expected.to_owned(),
            actual: actual.to_owned(),
        });
    }

    fn invalid(&mut self, errors: &weir_config::ConfigErrors) {
        for error in errors {
            self.fail(error.span(), error.message(), "", "");
        }
    }

    fn test(&mut self, test: &Test, steps: &Steps, module: &Module, setup: &Setup, trace: bool) {
        let host = TestHost::observed(setup, Observer::tracing(trace));
        let bounds = |word: &str| format!("--- {word} test: {} ---", test.name);
        self.append_log(&[bounds("Starting")]);
        let driver = Driver::start(module, setup, &host);
        let log = self.collect(&host);
        match driver {
            Err(error) => {
                let subject = format!("[plugin_init] the filter does not start: {error}");
                self.fail(test.span, &subject, "", "");
            }
            Ok(driver) => {
                self.log("plugin_init", &steps.plugin_init, &log);
                if self.phases(steps, &driver, &host).is_err() {
                    self.collect(&host);
                    let failure = driver.failure().unwrap_or_default();
                    self.fail(
                        test.span,
                        &format!("the filter has failed: {failure}"),
                        "",
                        "",
                    );
                } else {
                    driver.stop();
                    self.collect(&host);
                    if let Some(failure) = driver.failure() {
                        let subject = format!("[plugin_destroy] the filter has failed: {failure}");
                        self.fail(test.span, &subject, "", "");
                    }
                }
            }
        }
        self.append_log(&[bounds("Finished")]);
    }

    /// The phases of a stream in order. After each, the VM has to live.
    fn phases(&mut self, steps: &Steps, driver: &Driver, host: &TestHost) -> Result<(), VmFailed> {
        let alive = || driver.failure().map_or(Ok(()), |_| Err(VmFailed));
        let stream = Phases::open(&driver.vm, driver.root)?;
        alive()?;
        let log = self.collect(host);
        self.log("stream_init", &steps.stream_init, &log);
        let messages = [
            (
                Direction::Request,
                "request",
                &steps.request_headers,
                &steps.request_body,
            ),
            (
                Direction::Response,
                "response",
                &steps.response_headers,
                &steps.response_body,
            ),
        ];
        for (direction, word, headers, bodies) in messages {
            if let Some((headers, expectation)) = headers {
                let outcome = stream.headers(direction, headers)?;
                alive()?;
                self.check(&format!("{word}_headers"), expectation, &outcome, host);
            }
            for (pieces, expectation) in bodies {
                let outcome = stream.body(direction, pieces)?;
                alive()?;
                self.check(&format!("{word}_body"), expectation, &outcome, host);
            }
        }
        stream.end()?;
        alive()?;
        let log = self.collect(host);
        self.log("stream_destroy", &steps.stream_destroy, &log);
        Ok(())
    }

    /// What has been logged since this was called last.
    fn collect(&mut self, host: &TestHost) -> Vec<Vec<u8>> {
        let log = host.take_log();
        self.output.push_str(&host.take_trace());
        for line in &log {
            self.output.push_str(&line.shown());
        }
        let lines: Vec<_> = log.iter().map(|line| line.message.clone()).collect();
        self.append_log(&lines);
        log.into_iter()
            .map(|LogLine { message, .. }| message.into_bytes())
            .collect()
    }

    fn append_log(&mut self, lines: &[String]) {
        let Some(path) = self.suite.log.clone().filter(|_| !lines.is_empty()) else {
            return;
        };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        if let Err(error) = append(&path, &text) {
            let subject = format!("cannot write {}: {error}", path.display());
            self.fail(Span::default(), &subject, "", "");
        }
    }

    fn check(
        &mut self,
        phase: &str,
        expectation: &Expectation,
        outcome: &Outcome,
        host: &TestHost,
    ) {
        let log = self.collect(host);
        for (key, value, span) in &expectation.has_header {
            let found = outcome.headers.get(key.as_bytes());
            if found != Some(value) {
                let subject = format!("[{phase}] header `{key}`");
                let actual = show::value(found.map(|found| &found[..]));
                self.fail(*span, &subject, &show::value(Some(value)), &actual);
            }
        }
        for (key, span) in &expectation.no_header {
            if let Some(found) = outcome.headers.get(key.as_bytes()) {
                let subject = format!("[{phase}] header `{key}`");
                self.fail(*span, &subject, "nothing", &show::value(Some(found)));
            }
        }
        let lines = outcome.headers.iter();
        let lines: Vec<_> = lines
            .map(|(name, value)| [name, b": ", value].concat())
            .collect();
        self.matchers(phase, "a header", &expectation.headers, &lines);
        let body = std::slice::from_ref(&outcome.body);
        self.matchers(phase, "the body", &expectation.body, body);
        self.immediate(phase, expectation, outcome);
        self.log(phase, expectation, &log);
    }

    fn log(&mut self, phase: &str, expectation: &Expectation, log: &[Vec<u8>]) {
        self.matchers(phase, "a line of the log", &expectation.log, log);
    }

    fn matchers(
        &mut self,
        phase: &str,
        what: &str,
        matchers: &[StringMatcher],
        strings: &[Vec<u8>],
    ) {
        for matcher in matchers.iter().filter(|matcher| !matcher.holds(strings)) {
            let rule = match &matcher.rule {
                Rule::Exact(exact) => format!("that is {}", show::value(Some(exact))),
                Rule::Regex(regex) => format!("that matches `{}`", original(regex)),
            };
            let not = if matcher.invert { "none " } else { "one " };
            let shown: Vec<_> = strings.iter().map(|s| show::value(Some(s))).collect();
            let actual = match shown.is_empty() {
                true => "none at all".to_owned(),
                false => shown.join(", "),
            };
            let subject = format!("[{phase}] {what}");
            self.fail(matcher.span, &subject, &format!("{not}{rule}"), &actual);
        }
    }

    /// An answer is expected exactly if the callback stops and there is a status.
    fn immediate(&mut self, phase: &str, expectation: &Expectation, outcome: &Outcome) {
        let code = outcome.reply.as_ref().map(|reply| reply.code);
        let subject = format!("[{phase}] an immediate response");
        let Some(expected) = &expectation.immediate else {
            match code {
                Some(code) => {
                    let actual = format!("status {code}");
                    self.fail(expectation.span, &subject, "nothing", &actual);
                }
                None if outcome.is_headers && outcome.stops => {
                    let actual = "the callback stops the stream";
                    self.fail(expectation.span, &subject, "nothing, and to go on", actual);
                }
                None => {}
            }
            return;
        };
        let Some(reply) = &outcome.reply else {
            let actual = match outcome.stops {
                true => "the callback stops the stream without one",
                false => "the callback goes on",
            };
            self.fail(expected.span, &subject, "one", actual);
            return;
        };
        let grpc_status = reply.grpc_status.unwrap_or(u32::MAX);
        for (what, expected, actual) in [
            ("status", expected.http_status, u32::from(reply.code)),
            ("gRPC status", expected.grpc_status, grpc_status),
        ] {
            if let Some((expected, span)) = expected.filter(|(expected, _)| *expected != actual) {
                let subject = format!("[{phase}] the {what} of the immediate response");
                self.fail(span, &subject, &expected.to_string(), &actual.to_string());
            }
        }
        if let Some((details, span)) = &expected.details
            && details.as_bytes() != &reply.details[..]
        {
            let subject = format!("[{phase}] the details of the immediate response");
            let expected = show::value(Some(details.as_bytes()));
            let actual = show::value(Some(&Bytes::clone(&reply.details)));
            self.fail(*span, &subject, &expected, &actual);
        }
    }
}

/// Appends to a file; `-` is standard output.
fn append(path: &Path, text: &str) -> std::io::Result<()> {
    if path == Path::new("-") {
        return std::io::stdout().write_all(text.as_bytes());
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(text.as_bytes())
}
