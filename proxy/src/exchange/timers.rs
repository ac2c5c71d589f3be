//! [`Timers`]: how long an exchange may take, and how long nothing may move on
//! it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Which time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// The endpoint's, to complete its response.
    Response,
    /// That of one attempt to get it.
    Attempt,
    /// That of one attempt, without any movement at the endpoint.
    AttemptIdle,
    /// The client's, to complete its request.
    Request,
    /// The stream's, without any movement.
    Idle,
    /// The stream's.
    Duration,
}

/// The deadlines of one exchange.
pub(super) struct Timers {
    /// Armed once, for the deadline that was earliest then: moving the idle
    /// deadline ahead with every movement costs nothing.
    sleep: Option<Pin<Box<Sleep>>>,
    request: Option<Instant>,
    response: Option<Instant>,
    attempt: Option<Instant>,
    /// How long nothing may move at the endpoint, and since when nothing has.
    attempt_idle: Option<(Duration, Option<Instant>)>,
    duration: Option<Instant>,
    idle_timeout: Option<Duration>,
    /// Since when nothing has moved. It is told many times that something has, and waits
    /// once: the time is found out then.
    moved: Option<Instant>,
}

impl Timers {
    pub(super) fn new(request_timeout: Option<Duration>, idle_timeout: Option<Duration>) -> Self {
        Self {
            sleep: None,
            request: request_timeout.map(|t| Instant::now() + t),
            response: None,
            attempt: None,
            attempt_idle: None,
            duration: None,
            idle_timeout,
            moved: None,
        }
    }

    /// Something has moved on the stream.
    pub(super) fn moved(&mut self) {
        self.moved = None;
    }

    pub(super) fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.idle_timeout = timeout;
    }

    /// The stream may take so long, from when it began, and has taken so long.
    pub(super) fn set_duration(&mut self, max: Option<(Duration, Duration)>) {
        let left = max.map(|(max, elapsed)| max.saturating_sub(elapsed));
        self.duration = left.map(|left| Instant::now() + left);
    }

    /// The request has come, or is not waited for any more.
    pub(super) fn stop_request(&mut self) {
        self.request = None;
    }

    /// The endpoint has this long from now. Has no effect a second time.
    pub(super) fn start_response(&mut self, timeout: Option<Duration>) {
        if self.response.is_none() {
            self.response = timeout.map(|t| Instant::now() + t);
        }
    }

    /// What is left of `timeout`, which may have begun.
    pub(super) fn response_left(&self, timeout: Option<Duration>) -> Option<Duration> {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        self.response.map(left).or(timeout)
    }

    /// The endpoint is no longer waited for.
    pub(super) fn stop_response(&mut self) {
        self.response = None;
        self.stop_attempt();
    }

    /// One attempt has this long from now.
    pub(super) fn start_attempt(&mut self, timeout: Option<Duration>) {
        self.attempt = timeout.map(|t| Instant::now() + t);
    }

    /// From now on nothing may stand still at the endpoint for so long.
    pub(super) fn start_attempt_idle(&mut self, timeout: Option<Duration>) {
        self.attempt_idle = timeout.map(|t| (t, None));
    }

    /// Something has moved at the endpoint.
    pub(super) fn attempt_moved(&mut self) {
        if let Some((_, moved)) = &mut self.attempt_idle {
            *moved = None;
        }
    }

    /// An attempt is over.
    pub(super) fn stop_attempt(&mut self) {
        self.attempt = None;
        self.attempt_idle = None;
    }

    /// Waits for the first deadline.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let after = |moved: &mut Option<Instant>, timeout: Duration| {
                *moved.get_or_insert_with(Instant::now) + timeout
            };
            let idle = self.idle_timeout.map(|t| after(&mut self.moved, t));
            let attempt_idle = (self.attempt_idle.as_mut()).map(|(t, moved)| after(moved, *t));
            // Of two at once, the first counts.
            let deadlines = [
                (self.request, Expired::Request),
                (self.response, Expired::Response),
                (self.attempt, Expired::Attempt),
                (attempt_idle, Expired::AttemptIdle),
                (idle, Expired::Idle),
                (self.duration, Expired::Duration),
            ];
            let deadlines = deadlines.into_iter();
            let deadlines = deadlines.filter_map(|(at, expired)| Some((at?, expired)));
            let Some((deadline, expired)) = deadlines.min_by_key(|(at, _)| *at) else {
                return Poll::Pending;
            };
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(expired);
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
