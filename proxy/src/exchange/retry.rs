//! Attempts: whether a request is sent once more after one that failed, when, and
//! where to (Envoy's `retry_state_impl.cc`).
//!
//! Filters see one response: an attempt that is followed by another ends here. Once
//! anything of a response has gone on, there is no other attempt.

use std::sync::Arc;
use std::time::Duration;

use weir_abi::{BodyBuffer, HeaderMap};
use weir_config::defaults::RETRIES;
use weir_config::{Address, RetryOn, RetryPolicy as Defaults};

use super::Exchange;
use super::endpoint::EndpointState;
use crate::cluster::{Cluster, RetryPermit};
use crate::http::Downstream;
use crate::limits::RETRIES_MAX;
use crate::random;
use crate::request::ENVOYS;
use crate::route::{Action, Forward, RetryPolicy, Route};
use crate::stream::{ResponseFlags, ResponseState, UpstreamFailure, parse_status};

/// The attempts of one exchange.
#[derive(Default)]
pub(super) struct Attempts {
    /// So many have begun.
    pub(super) number: u32,
    /// What the endpoint depends on, if the route says so.
    pub(super) hash: Option<u64>,
    /// The endpoints that were chosen, if there may be others.
    pub(super) tried: Vec<Address>,
    /// For one attempt, once the request is complete and there is a connection.
    pub(super) timeout: Option<Duration>,
    /// How long nothing may move at the endpoint.
    pub(super) idle_timeout: Option<Duration>,
    /// What another attempt takes, if there may be one.
    retry: Option<Box<Retry>>,
}

/// What another attempt takes.
struct Retry {
    route: Arc<Route>,
    on: RetryOn,
    left: u32,
    /// Besides those of the policy.
    status_codes: Vec<u16>,
    /// Names of headers, besides those of the policy.
    headers: Vec<String>,
    /// The next pause is shorter than this.
    pause: Duration,
    pause_max: Duration,
    /// Of the retry that is under way.
    permit: Option<RetryPermit>,
    /// The body of the request, as far as it has come.
    kept: BodyBuffer,
    kept_max: usize,
}

/// What comes of an attempt that failed.
enum Decision {
    /// It was the last.
    Final,
    /// There is another one after this pause.
    Again(Duration),
    /// There would be another one, but for the number of them.
    Exhausted,
    /// There would be another one, but the cluster has enough of them.
    Overflow,
}

impl Attempts {
    /// This endpoint was chosen.
    pub(super) fn chosen(&mut self, endpoint: &Address) {
        if self.retry.is_some() {
            self.tried.push(endpoint.clone());
        }
    }
}

impl Retry {
    fn decide(&mut self, wanted: bool, cluster: &Cluster) -> Decision {
        let metrics = &cluster.metrics;
        let followed = self.permit.take().is_some();
        if !wanted {
            if followed {
                metrics.retry_succeeded();
            }
            return Decision::Final;
        }
        if self.left == 0 {
            metrics.retries_exhausted();
            return Decision::Exhausted;
        }
        self.left -= 1;
        self.permit = cluster.begin_retry();
        if self.permit.is_none() {
            metrics.retry_overflowed();
            return Decision::Overflow;
        }
        metrics.retried();
        // Full jitter: clients that failed together do not come back together.
        let bound = u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX);
        let pause = Duration::from_micros(random::below(bound));
        self.pause = self.pause.saturating_mul(2).min(self.pause_max);
        Decision::Again(pause)
    }

    /// Whether a response asks for another attempt.
    fn after_response(&self, response: &HeaderMap) -> bool {
        let on = |condition| self.on.has(condition);
        if response.contains(b"x-envoy-ratelimited") {
            return on(RetryOn::ENVOY_RATE_LIMITED);
        }
        let status = response.get(b":status").and_then(|s| parse_status(s));
        let status = status.unwrap_or(0);
        let policy = self.policy();
        (on(RetryOn::SERVER_ERROR) && (500..600).contains(&status))
            || (on(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&status))
            || (on(RetryOn::RETRIABLE_4XX) && status == 409)
            || (on(RetryOn::RETRIABLE_STATUS_CODES)
                && (self.status_codes.contains(&status)
                    || policy.is_some_and(|p| p.status_codes.contains(&status))))
            || (on(RetryOn::RETRIABLE_HEADERS)
                && (self.headers.iter().any(|n| response.contains(n.as_bytes()))
                    || policy.is_some_and(|p| p.wants(response))))
            || grpc_condition(response).is_some_and(on)
    }

    /// Whether the lack of a response asks for another attempt. `begun`: something of
    /// the request has been sent.
    fn after_failure(&self, failure: &UpstreamFailure, begun: bool) -> bool {
        use crate::http::reset::REFUSED_STREAM;
        let on = |condition| self.on.has(condition);
        match failure {
            UpstreamFailure::Connect(_) | UpstreamFailure::ConnectTimeout
                if on(RetryOn::CONNECT_FAILURE) =>
            {
                true
            }
            UpstreamFailure::Reset(REFUSED_STREAM) if on(RetryOn::REFUSED_STREAM) => true,
            _ => {
                let any = RetryOn::RESET
                    .with(RetryOn::SERVER_ERROR)
                    .with(RetryOn::GATEWAY_ERROR);
                on(any) || (!begun && on(RetryOn::RESET_BEFORE_REQUEST))
            }
        }
    }

    fn policy(&self) -> Option<&RetryPolicy> {
        match &self.route.action {
            Action::Forward(forward) => forward.retry.as_deref(),
            Action::Redirect(_) | Action::DirectResponse(_) => None,
        }
    }
}

/// The condition for the gRPC status in a response's headers.
fn grpc_condition(response: &HeaderMap) -> Option<RetryOn> {
    match &response.get(b"grpc-status")?[..] {
        b"1" => Some(RetryOn::CANCELLED),
        b"4" => Some(RetryOn::DEADLINE_EXCEEDED),
        b"8" => Some(RetryOn::RESOURCE_EXHAUSTED),
        b"13" => Some(RetryOn::INTERNAL),
        b"14" => Some(RetryOn::UNAVAILABLE),
        _ => None,
    }
}

impl<D: Downstream> Exchange<'_, D> {
    /// Takes what route and request say of attempts and their times. The headers that
    /// say so are for Weir, and go no further.
    pub(super) fn prepare_attempts(&mut self, route: &Arc<Route>, forward: &Forward) {
        let policy = forward.retry.as_deref();
        let mut attempts = Attempts {
            timeout: policy.and_then(|p| p.attempt_timeout),
            idle_timeout: policy.and_then(|p| p.attempt_idle_timeout),
            ..Attempts::default()
        };
        self.timeout = forward.timeout;
        let mut asked = Asked::default();
        if self.listener.takes_envoy_headers() {
            let mut request = self.stream.request_map();
            asked = Asked::take(&mut request);
        }
        if let Some(timeout) = asked.timeout {
            self.timeout = Some(timeout).filter(|t| !t.is_zero());
        }
        if let Some(timeout) = asked.attempt_timeout {
            attempts.timeout = Some(timeout).filter(|t| !t.is_zero());
        }
        // One that is not shorter than all of them has no effect.
        let whole = self.timeout;
        attempts.timeout = attempts
            .timeout
            .filter(|t| whole.is_none_or(|whole| *t < whole));
        let mut on = policy
            .map_or_else(RetryOn::default, |p| p.on)
            .with(asked.on);
        if policy.is_some_and(|p| !p.is_for(&self.stream.request_map())) {
            on = RetryOn::default();
        }
        if !on.is_empty() {
            let limit = policy.and_then(|p| p.buffer_limit);
            let kept_max = limit.or(route.buffer_limit);
            let retries = policy.map_or(RETRIES, |p| p.retries);
            attempts.retry = Some(Box::new(Retry {
                route: Arc::clone(route),
                on,
                left: asked.retries.unwrap_or(retries),
                status_codes: asked.status_codes,
                headers: asked.headers,
                pause: policy.map_or(Defaults::BACK_OFF.base_interval, |p| p.pause),
                pause_max: policy.map_or(Defaults::BACK_OFF.max_interval, |p| p.pause_max),
                permit: None,
                kept: BodyBuffer::new(),
                kept_max: kept_max.unwrap_or(self.listener.buffer_limit),
            }));
        }
        self.attempts = attempts;
    }

    /// Keeps a piece of the request to be sent again. False when the exchange has
    /// failed over it.
    pub(super) fn keep(&mut self, data: &BodyBuffer) -> bool {
        let Some(retry) = &mut self.attempts.retry else {
            return true;
        };
        if retry.kept.len() + data.len() <= retry.kept_max {
            retry.kept.append(data.clone());
            return true;
        }
        self.attempts.retry = None;
        if let Some(cluster) = self.cluster() {
            cluster.metrics.retry_abandoned();
        }
        if !matches!(self.endpoint, EndpointState::Waiting(_)) {
            return true;
        }
        // What there is cannot be sent again, and nothing is under way.
        self.endpoint = EndpointState::Done;
        self.timers.stop_response();
        let details = "request_payload_exceeded_retry_buffer_limit";
        let reason = "exceeded request buffer limit while retrying upstream";
        self.stream.fail_request(507, details, reason);
        false
    }

    /// Something of a response goes on: what comes is final.
    pub(super) fn stop_retrying(&mut self) {
        self.attempts.retry = None;
    }

    /// Whether there is another attempt in place of this response. `ended`: it is whole.
    pub(super) fn retries_after_response(&mut self, response: &HeaderMap, ended: bool) -> bool {
        let wanted = |retry: &Retry| retry.after_response(response);
        let Some(pause) = self.decide(wanted) else {
            return false;
        };
        if ended {
            self.release_connection();
        }
        self.wait(pause);
        true
    }

    /// Whether there is another attempt after this failure. `begun`: something of the
    /// request has been sent.
    pub(super) fn retries_after_failure(&mut self, failure: &UpstreamFailure, begun: bool) -> bool {
        let wanted = |retry: &Retry| retry.after_failure(failure, begun);
        let pause = self.decide(wanted);
        if let Some(pause) = pause {
            self.wait(pause);
        }
        pause.is_some()
    }

    /// The pause before another attempt, if there is to be one.
    fn decide(&mut self, wanted: impl Fn(&Retry) -> bool) -> Option<Duration> {
        let awaited = self.stream.response_state() == ResponseState::Awaited;
        let cluster = self.cluster().filter(|_| awaited)?;
        let retry = self.attempts.retry.as_mut()?;
        let info = &self.stream.info;
        match retry.decide(wanted(retry), &cluster) {
            Decision::Again(pause) => return Some(pause),
            Decision::Final => {}
            Decision::Exhausted => info.flag(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED),
            Decision::Overflow => info.flag(ResponseFlags::UPSTREAM_OVERFLOW),
        }
        self.attempts.retry = None;
        None
    }

    fn wait(&mut self, pause: Duration) {
        self.timers.stop_attempt();
        self.upstream_metrics = None;
        let pause = Box::pin(tokio::time::sleep(pause));
        self.endpoint = EndpointState::Waiting(pause);
    }

    /// Sends the request once more.
    pub(super) fn try_again(&mut self) {
        if let Some(retry) = &self.attempts.retry {
            self.pending.body = retry.kept.clone();
        }
        self.stream.info.retried.set(true);
        let route = self.stream.info.route.borrow().clone();
        if let Some(route) = route
            && let Action::Forward(forward) = &route.action
        {
            self.attempt(&route, forward);
        }
    }
}

/// What a request's own headers ask for.
#[derive(Default)]
struct Asked {
    timeout: Option<Duration>,
    attempt_timeout: Option<Duration>,
    on: RetryOn,
    retries: Option<u32>,
    status_codes: Vec<u16>,
    headers: Vec<String>,
}

impl Asked {
    fn take(request: &mut HeaderMap) -> Self {
        // Mostly there is none of them.
        if !request.iter().any(|(name, _)| name.starts_with(ENVOYS)) {
            return Self::default();
        }
        let mut take = |name: &str| {
            let value = request.get(name.as_bytes()).cloned();
            let value = value.map(|v| String::from_utf8_lossy(&v).into_owned());
            if value.is_some() {
                request.remove(name.as_bytes());
            }
            value
        };
        let millis = |text: Option<String>| Some(Duration::from_millis(text?.parse().ok()?));
        let conditions = |text: Option<String>| {
            text.map_or_else(RetryOn::default, |text| RetryOn::parse(&text).0)
        };
        let list = |text: Option<String>| {
            let text = text.unwrap_or_default();
            let words = text.split(',').map(str::trim).filter(|w| !w.is_empty());
            words.map(str::to_ascii_lowercase).collect::<Vec<_>>()
        };
        let codes = list(take("x-envoy-retriable-status-codes"));
        Self {
            timeout: millis(take("x-envoy-upstream-rq-timeout-ms")),
            attempt_timeout: millis(take("x-envoy-upstream-rq-per-try-timeout-ms")),
            on: conditions(take("x-envoy-retry-on"))
                .with(conditions(take("x-envoy-retry-grpc-on"))),
            retries: take("x-envoy-max-retries")
                .and_then(|text| text.parse::<u32>().ok())
                .map(|retries| retries.min(RETRIES_MAX)),
            status_codes: codes.iter().filter_map(|code| code.parse().ok()).collect(),
            headers: list(take("x-envoy-retriable-header-names")),
        }
    }
}
