//! [`Health`]: whether this process wants requests, for those who ask.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// How the process stands. The numbers are those of Envoy's `server.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It serves.
    Live = 0,
    /// It is about to end, or has been told to say so.
    Draining = 1,
    /// It does not serve yet.
    Initializing = 3,
}

impl State {
    /// As Envoy calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::Initializing => "INITIALIZING",
        }
    }
}

/// What is known of the process's life; shared by all who end it and all who are asked.
#[derive(Debug, Default)]
pub(crate) struct Health {
    serves: AtomicBool,
    leaves: AtomicBool,
    failed: AtomicBool,
    quit: Notify,
}

impl Health {
    pub(crate) fn state(&self) -> State {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        if is(&self.leaves) || is(&self.failed) {
            State::Draining
        } else if is(&self.serves) {
            State::Live
        } else {
            State::Initializing
        }
    }

    /// It serves from now on.
    pub(crate) fn serve(&self) {
        self.serves.store(true, Ordering::Release);
    }

    /// It is about to end.
    pub(crate) fn leave(&self) {
        self.leaves.store(true, Ordering::Release);
    }

    /// Has it say that it wants no requests, or no longer; it serves all the same.
    pub(crate) fn fail(&self, failed: bool) {
        self.failed.store(failed, Ordering::Release);
    }

    /// Has the process drain and end.
    pub(crate) fn quit(&self) {
        self.quit.notify_one();
    }

    /// Returns when the process is to drain and end.
    pub(crate) async fn has_quit(&self) {
        self.quit.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_process_that_serves_and_stays_is_live() {
        let health = Health::default();
        assert_eq!(health.state(), State::Initializing);
        health.serve();
        assert_eq!(health.state(), State::Live);
        health.fail(true);
        assert_eq!(health.state(), State::Draining);
        health.fail(false);
        assert_eq!(health.state(), State::Live);
        health.leave();
        assert_eq!(health.state(), State::Draining);
    }
}
