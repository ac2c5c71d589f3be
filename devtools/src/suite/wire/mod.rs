//! A suite played over sockets: its tests as requests to a proxy in which the filter
//! runs, its expectations looked for in what comes out.

mod message;
mod play;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

pub use self::server::Server;
use super::check::Checks;
use super::read::{Suite, Test};
use super::step::{Action, Answer, Step};
use crate::driver::Properties;
use crate::report::Failure;

/// A suite in Weir's own form, whose tests are to be played over sockets.
pub struct WireSuite(Suite);

/// One test.
#[derive(Clone, Copy)]
pub struct WireTest<'s> {
    suite: &'s Suite,
    test: &'s Test,
}

/// What is around the filter while a test is played.
pub struct Surroundings<'a> {
    /// Where the proxy listens that has the filter.
    pub edge: SocketAddr,
    /// The upstream that requests reach behind the filter.
    pub upstream: &'a Server,
    /// Those that the filter calls, by the names of their clusters.
    pub clusters: &'a BTreeMap<String, Server>,
    /// The lines that the filter has logged, all of them.
    pub log: &'a dyn Fn() -> Vec<String>,
    /// The value of one of the filter's metrics.
    pub metric: &'a dyn Fn(&str) -> u64,
}

impl WireSuite {
    /// Reads a suite.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the place.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let suite = Suite::read(path, &text, None);
        suite.map(Self).map_err(|errors| errors.plain())
    }

    /// Its tests, but for those that it says are to be ignored.
    pub fn tests(&self) -> impl Iterator<Item = WireTest<'_>> {
        let tests = self.0.tests.iter().filter(|test| !test.ignored);
        tests.map(|test| WireTest {
            suite: &self.0,
            test,
        })
    }
}

impl WireTest<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.test.name
    }

    /// The configuration of the filter.
    #[must_use]
    pub fn configuration(&self) -> &[u8] {
        &self.test.setup.plugin.configuration
    }

    /// Whether the filter may stop the headers alone.
    #[must_use]
    pub fn allow_on_headers_stop_iteration(&self) -> bool {
        self.test.setup.plugin.allow_on_headers_stop_iteration
    }

    /// Whether the filter refuses to start.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.test.expect.refused.is_some_and(|(refused, _)| refused)
    }

    /// Whether it is about connections, not about requests.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        let connects = |step: &Step| matches!(step.action, Action::Connect(_));
        self.test.steps.iter().any(connects)
    }

    /// Whether the test says from which address requests come.
    #[must_use]
    pub fn names_client(&self) -> bool {
        !self.is_tcp() && play::source(&self.test.properties).is_some()
    }

    /// The clusters that the filter calls.
    #[must_use]
    pub fn clusters(&self) -> BTreeSet<&str> {
        let targets = self
            .test
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Answer(target, _) => Some(target.as_str()),
                _ => None,
            });
        let named = self.test.steps.iter();
        let named = named.filter_map(|step| step.expect.callouts.as_ref());
        let named = named.flat_map(|(names, _)| names.iter().map(String::as_str));
        targets.chain(named).collect()
    }

    /// Why it cannot be played over sockets, if it cannot.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        if !self.test.shared_data.is_empty() {
            return Some("shared data is there from the start".to_owned());
        }
        let vm = &self.test.setup.vm;
        if !vm.configuration.is_empty() || !vm.environment.is_empty() {
            return Some("the VM has a configuration or an environment".to_owned());
        }
        if self.is_refused() && self.test.expect.log.is_empty() {
            return Some("any failure to start would be the refusal, without a `log`".to_owned());
        }
        far_away(&self.test.properties).or_else(|| self.test.steps.iter().find_map(obstacle))
    }

    /// Plays the test: what was expected and did not come.
    #[must_use]
    pub fn play(&self, surroundings: &Surroundings<'_>) -> Vec<String> {
        play::play(self.suite, self.test, surroundings)
    }

    /// What was expected of a filter that refuses to start, and is not in its log.
    #[must_use]
    pub fn check_refusal(&self, log: &[String]) -> Vec<String> {
        let mut checks = Checks::new(self.suite);
        checks.log_text(&self.test.expect.log, log);
        texts(checks)
    }
}

fn obstacle(step: &Step) -> Option<String> {
    match &step.action {
        Action::Advance(time) if *time > play::WAIT_MAX => Some(format!(
            "the clock moves by {}",
            humantime::format_duration(*time)
        )),
        Action::SetSharedData(_) => Some("another VM sets shared data".to_owned()),
        Action::Enqueue(_) => Some("another VM puts items into a queue".to_owned()),
        Action::Answer(_, Answer::Grpc { .. }) => Some("gRPC answers".to_owned()),
        Action::Answer(_, Answer::Addresses(_)) => Some("a name is looked up".to_owned()),
        Action::Request(_, properties) | Action::Connect(properties) => far_away(properties),
        _ => None,
    }
}

/// That a client comes from elsewhere than this machine.
fn far_away(properties: &Properties) -> Option<String> {
    let address = play::source(properties).filter(|address| !address.is_loopback())?;
    Some(format!("a client at {address}"))
}

fn texts(checks: Checks<'_>) -> Vec<String> {
    let failures = checks.into_failures();
    failures.iter().map(Failure::text).collect()
}
