//! What the answers of several services come to.

/// What one service says.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// The request may pass.
    Allowed,
    /// It may not, with this status.
    Denied(u32),
    /// There is no answer, or none that can be used.
    Failed,
}

impl Answer {
    /// The answer behind a status: a service that is out of order does not judge.
    pub(crate) fn of_status(status: Option<u32>) -> Self {
        match status {
            Some(200..300) => Self::Allowed,
            Some(code @ 300..500) => Self::Denied(code),
            _ => Self::Failed,
        }
    }
}

/// Whether a header of a refusal is for the client: where to log in, cookies, what the body
/// is. What frames a message, and what proxies add to one, is not.
pub(crate) fn is_passed_on(name: &str) -> bool {
    const OF_THE_MESSAGE: [&str; 11] = [
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    let own = name.starts_with(':') || name.starts_with("x-envoy-");
    !own && !OF_THE_MESSAGE.contains(&name)
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// Not all services have answered.
    Open,
    Pass,
    Deny(u32),
    /// A service has failed, and that is no reason to let it pass.
    Unavailable,
}

/// The services that have yet to answer.
#[derive(Debug)]
pub(crate) struct Poll {
    awaited: usize,
    fail_open: bool,
}

impl Poll {
    pub(crate) fn new(awaited: usize, fail_open: bool) -> Self {
        Self { awaited, fail_open }
    }

    /// The first refusal decides; to pass takes all.
    pub(crate) fn count(&mut self, answer: &Answer) -> Verdict {
        self.awaited = self.awaited.saturating_sub(1);
        match answer {
            Answer::Denied(code) => Verdict::Deny(*code),
            Answer::Failed if !self.fail_open => Verdict::Unavailable,
            _ if self.awaited == 0 => Verdict::Pass,
            _ => Verdict::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_to_agree() {
        let mut poll = Poll::new(2, false);
        assert_eq!(poll.count(&Answer::Allowed), Verdict::Open);
        assert_eq!(poll.count(&Answer::Allowed), Verdict::Pass);
    }

    #[test]
    fn the_first_refusal_decides() {
        let mut poll = Poll::new(3, true);
        assert_eq!(poll.count(&Answer::Allowed), Verdict::Open);
        assert_eq!(poll.count(&Answer::Denied(401)), Verdict::Deny(401));
    }

    #[test]
    fn a_failure_passes_only_if_that_is_wanted() {
        assert_eq!(
            Poll::new(2, false).count(&Answer::Failed),
            Verdict::Unavailable
        );
        let mut open = Poll::new(2, true);
        assert_eq!(open.count(&Answer::Failed), Verdict::Open);
        assert_eq!(open.count(&Answer::Failed), Verdict::Pass);
    }

    #[test]
    fn a_service_out_of_order_does_not_judge() {
        assert_eq!(Answer::of_status(Some(204)), Answer::Allowed);
        assert_eq!(Answer::of_status(Some(403)), Answer::Denied(403));
        assert_eq!(Answer::of_status(Some(503)), Answer::Failed);
        assert_eq!(Answer::of_status(None), Answer::Failed);
    }
}
