//! [`Stream`]: one stream to the server, from its beginning to its end.

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::transport::Channel;

use crate::answers::Answers;
use crate::backoff::Backoff;
use crate::counters::Counters;
use crate::error::StreamError;
use crate::inbound::Inbound;
use crate::interest::Interests;
use crate::judge::{Judge, Offer, Rejection, Verdict};
use crate::limits::{SHOWN_BYTES, WARNINGS_A_STREAM};
use crate::options::Options;
use crate::protocol::{Protocol, Subscribe};
use crate::resource_type::ResourceType;
use crate::subscriptions::Shared;
use crate::text::cut;
use crate::update::{Response, Update};

/// Why a stream is over.
#[derive(Debug)]
pub(crate) enum End {
    /// What is wanted cannot be said on it.
    AnotherStream,
    Failed(StreamError),
}

impl From<Result<(), Status>> for End {
    fn from(end: Result<(), Status>) -> Self {
        Self::Failed(match end {
            Ok(()) => StreamError::Ended,
            Err(status) => StreamError::of_status(&status),
        })
    }
}

/// One stream to the server. It says what is wanted, has what comes judged, one response
/// after the other, and answers; all by turns, so that neither side waits for the other.
pub(crate) struct Stream<'a, P, J> {
    options: &'a Options,
    shared: &'a Shared,
    counters: &'a Counters,
    judge: &'a mut J,
    /// Is set back when the server responds.
    backoff: &'a mut Backoff,
    protocol: P,
    /// Until the first request.
    node: Option<Node>,
    answers: Answers,
    warnings: u32,
}

impl<'a, P: Protocol, J: Judge> Stream<'a, P, J> {
    pub(crate) fn new(
        options: &'a Options,
        shared: &'a Shared,
        counters: &'a Counters,
        judge: &'a mut J,
        backoff: &'a mut Backoff,
    ) -> Self {
        Self {
            options,
            shared,
            counters,
            judge,
            backoff,
            protocol: P::default(),
            node: Some(options.identity.node()),
            answers: Answers::default(),
            warnings: 0,
        }
    }

    /// Serves until the end.
    pub(crate) async fn serve(mut self, channel: Channel) -> End {
        // One at a time: what is said is up to date when it goes out.
        let (requests, queue) = mpsc::channel(1);
        let mut inbound = Inbound::open(
            channel.clone(),
            P::path(self.options.service),
            self.options.headers.clone(),
            queue,
            self.options.message_bytes,
        );
        let mut wanted = self.shared.wanted.subscribe();
        let mut has_news = true;
        let mut is_open = true;
        loop {
            self.counters.set_pending_requests(self.answers.len());
            let due = self.answers.due();
            let has_request = has_news || due.is_some_and(|at| at <= Instant::now());
            tokio::select! {
                biased;
                permit = requests.reserve(), if has_request && is_open => match permit {
                    Ok(permit) => match self.request(&mut wanted) {
                        Subscribe::Request(request) => permit.send(request),
                        Subscribe::Nothing => has_news = false,
                        Subscribe::AnotherStream => break End::AnotherStream,
                    },
                    // The other direction tells why.
                    Err(_) => is_open = false,
                },
                // A sender is in `shared`.
                Ok(()) = wanted.changed() => has_news = true,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && !has_request => {}
                response = inbound.next(), if !self.answers.is_full() => match response {
                    Ok(Some(response)) => self.respond(response).await,
                    Ok(None) => break Ok(()).into(),
                    Err(status) => break Err(status).into(),
                },
            }
        }
    }

    /// The next thing to say.
    fn request(&mut self, wanted: &mut watch::Receiver<Interests>) -> Subscribe<P::Request> {
        let request = match self.answers.next() {
            Some(answer) => {
                let snapshot = self.shared.snapshot.borrow().clone();
                let held = snapshot.of(answer.kind);
                Subscribe::Request(self.protocol.answer(answer, held))
            }
            None => self.subscribe(wanted),
        };
        let Subscribe::Request(mut request) = request else {
            return request;
        };
        if let Some(node) = self.node.take() {
            P::introduce(&mut request, node);
        }
        Subscribe::Request(request)
    }

    /// What the server does not know yet of what is wanted, type by type.
    fn subscribe(&mut self, wanted: &mut watch::Receiver<Interests>) -> Subscribe<P::Request> {
        let wanted = wanted.borrow_and_update().clone();
        for kind in ResourceType::ALL {
            let interest = wanted.of(kind);
            self.shared.drop_unwanted(kind, interest);
            let snapshot = self.shared.snapshot.borrow().clone();
            match self.protocol.subscribe(kind, interest, snapshot.of(kind)) {
                Subscribe::Nothing => {}
                other => {
                    self.counters.count_attempt(kind);
                    return other;
                }
            }
        }
        Subscribe::Nothing
    }

    async fn respond(&mut self, response: P::Response) {
        self.backoff.reset();
        match self.protocol.read(response, self.options.limits.count) {
            Response::Unknown(url) => self.pass_over(&url),
            Response::Known { kind, .. } if self.protocol.asked(kind).is_none() => {
                self.pass_over(kind.url());
            }
            Response::Known {
                kind,
                nonce,
                update,
                control_plane,
            } => {
                self.counters.set_control_plane(&control_plane);
                let rejections = match update {
                    Ok(update) => self.take(kind, &update).await,
                    Err(rejections) => Some(rejections),
                };
                self.counters.count_attempt(kind);
                if let Some(rejections) = rejections {
                    self.counters.count_rejected(kind);
                    let told = self.answers.refuse(kind, nonce, &rejections);
                    tracing::warn!("xDS: refused: {told}");
                } else {
                    self.counters.count_success(kind);
                    self.answers.accept(kind, nonce);
                }
            }
        }
    }

    /// Has an update judged, and takes what is accepted of it; gives what is not.
    async fn take(&mut self, kind: ResourceType, update: &Update) -> Option<Vec<Rejection>> {
        let asked = self.protocol.asked(kind)?.clone();
        let before = self.shared.snapshot.borrow().clone();
        let held = before.of(kind);
        let (after, changes) = match held.after(update, &asked, self.options.limits) {
            Ok(after) => after,
            Err(rejection) => return Some(vec![rejection]),
        };
        let verdict = if changes.is_empty() {
            Verdict::Accepted
        } else {
            tracing::debug!(
                "xDS: {kind}: {} new, {} changed, {} removed",
                changes.added.len(),
                changes.changed.len(),
                changes.removed.len()
            );
            let offer = Offer {
                kind,
                before: before.clone(),
                after: before.with(kind, after.clone()),
                changes,
            };
            self.judge.judge(offer).await.simplified()
        };
        let settled = held.settled(after, &verdict);
        self.shared.settle(kind, held, settled);
        match verdict {
            Verdict::Accepted => None,
            Verdict::Partly(rejections) | Verdict::Rejected(rejections) => Some(rejections),
        }
    }

    /// Notes a response that nobody has asked for. It is not answered: an answer would
    /// ask for its type.
    fn pass_over(&mut self, url: &str) {
        self.counters.count_unknown();
        self.warnings = self.warnings.saturating_add(1);
        if self.warnings <= WARNINGS_A_STREAM {
            let url = cut(url, SHOWN_BYTES);
            tracing::warn!("xDS: passed over what nobody has asked for: `{url}`");
        }
    }
}
