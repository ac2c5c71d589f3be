//! Problems gathered while a configuration is read.

use std::sync::Arc;

use crate::error::{ConfigError, ConfigErrors, Problem};
use crate::limits::MAX_ERRORS;
use crate::schema::Event;
use crate::source::Source;

/// The list that every reader adds to, so that one run reports all it can.
#[derive(Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    omitted: usize,
    /// What readers ask for, where that is of interest.
    events: Option<Vec<Event>>,
}

impl Problems {
    /// A list that also keeps what readers ask for.
    pub(crate) fn recording() -> Self {
        Self {
            events: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Notes what a reader asks for.
    pub(crate) fn record(&mut self, event: impl FnOnce() -> Event) {
        if let Some(events) = &mut self.events {
            events.push(event());
        }
    }

    /// What readers have asked for.
    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events.unwrap_or_default()
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.found.len() < MAX_ERRORS {
            self.found.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    /// How many were noted so far.
    pub(crate) fn total(&self) -> usize {
        self.found.len() + self.omitted
    }

    /// Everything that was noted, in the order in which it was.
    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.found
    }

    /// Everything that was noted in source order, and how much more there was.
    pub(crate) fn into_sorted(mut self, source: &Arc<Source>) -> (Vec<ConfigError>, usize) {
        self.found.sort_by_key(|problem| problem.span);
        let errors = self.found.into_iter();
        let errors = errors.map(|problem| ConfigError::new(Arc::clone(source), problem));
        (errors.collect(), self.omitted)
    }

    /// `Ok` if nothing was found, or else all of it in source order.
    pub(crate) fn into_result(self, source: &Arc<Source>) -> Result<(), ConfigErrors> {
        if self.found.is_empty() {
            return Ok(());
        }
        let (errors, omitted) = self.into_sorted(source);
        Err(ConfigErrors::new(errors, omitted))
    }
}
