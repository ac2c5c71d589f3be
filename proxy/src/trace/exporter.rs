//! [`Exporter`]: the thread that sends spans.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use ureq::Agent;

use super::span::text;
use crate::limits::{LIMIT_WARNING_INTERVAL, TRACE_BATCH, TRACE_INTERVAL, TRACE_QUEUE};
use crate::reload::compete;
use crate::telemetry::spans;

/// What the thread is told.
enum Order {
    /// The spans of one request.
    Send(Vec<Span>),
    /// To send what it has, and to say so.
    Flush(SyncSender<()>),
}

/// A queue to the thread that sends spans. The thread ends with it.
pub(super) struct Exporter(SyncSender<Order>);

impl Exporter {
    pub(super) fn start(
        tracing: &weir_config::Tracing,
        node: &weir_config::Node,
    ) -> io::Result<Self> {
        let (sender, orders) = sync_channel(TRACE_QUEUE);
        let collector = Collector::new(tracing, node);
        thread::Builder::new()
            .name("trace-export".to_owned())
            .spawn(move || {
                // It may have been started by a thread that does not.
                if let Err(error) = compete() {
                    tracing::debug!("SCHED_OTHER: {error}");
                }
                run(&orders, collector);
            })?;
        Ok(Self(sender))
    }

    /// Sends the spans of a request some time; drops them if too many wait.
    pub(super) fn export(&self, request: Vec<Span>) {
        let count = request.len() as u64;
        if self.0.try_send(Order::Send(request)).is_err() {
            spans().dropped.add(count);
        }
    }

    /// Waits until what was handed over before is sent, or could not be.
    pub(super) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.0.send(Order::Flush(done)).is_ok() {
            // The thread says so, or is gone.
            let _ = is_done.recv();
        }
    }
}

fn run(orders: &Receiver<Order>, mut collector: Collector) {
    let mut batch = Vec::new();
    let mut due = None;
    loop {
        let now = Instant::now();
        let wait = due.map_or(TRACE_INTERVAL, |due: Instant| {
            due.saturating_duration_since(now)
        });
        let flushed = match orders.recv_timeout(wait) {
            Ok(Order::Send(request)) => {
                batch.extend(request);
                due.get_or_insert(now + TRACE_INTERVAL);
                None
            }
            Ok(Order::Flush(done)) => Some(done),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return collector.send(batch),
        };
        let is_due = due.is_some_and(|due| Instant::now() >= due);
        if is_due || flushed.is_some() || batch.len() >= TRACE_BATCH {
            collector.send(std::mem::take(&mut batch));
            due = None;
        }
        if let Some(done) = flushed {
            // Who waits may have given up.
            let _ = done.try_send(());
        }
    }
}

/// Where spans go to.
struct Collector {
    agent: Agent,
    url: String,
    headers: Vec<(String, String)>,
    resource: Resource,
    /// When the log last told that spans do not arrive.
    told: Option<Instant>,
}

impl Collector {
    fn new(tracing: &weir_config::Tracing, node: &weir_config::Node) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(tracing.otlp.timeout))
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .build();
        let headers = tracing.otlp.headers.iter();
        let headers = headers.map(|(name, value)| (name.value.clone(), value.clone()));
        let mut attributes = vec![
            text("service.name", tracing.service_name.as_str()),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("telemetry.sdk.name", "weir"),
            text("telemetry.sdk.language", "rust"),
        ];
        if !node.id.is_empty() {
            attributes.push(text("service.instance.id", node.id.as_str()));
        }
        Self {
            agent: config.into(),
            url: url(&tracing.otlp.endpoint),
            headers: headers.collect(),
            resource: Resource {
                attributes,
                ..Resource::default()
            },
            told: None,
        }
    }

    fn send(&mut self, batch: Vec<Span>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "weir".to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    spans: batch,
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        };
        let body = request.encode_to_vec();
        // A connection that was kept may have been closed just now.
        let sent = self.post(&body).or_else(|_| self.post(&body));
        match sent {
            Ok(()) => spans().sent.add(count),
            Err(error) => {
                spans().dropped.add(count);
                self.tell(&error);
            }
        }
    }

    fn post(&self, body: &[u8]) -> Result<(), String> {
        let mut request = self.agent.post(&self.url);
        request = request.header("content-type", "application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut answer = request.send(body).map_err(|error| error.to_string())?;
        // Read to its end, the connection can be used again.
        let _ = answer.body_mut().read_to_vec();
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("it answers {}", answer.status()))
        }
    }

    fn tell(&mut self, error: &str) {
        let now = Instant::now();
        let long_ago =
            |told: Instant| now.saturating_duration_since(told) >= LIMIT_WARNING_INTERVAL;
        if self.told.is_none_or(long_ago) {
            self.told = Some(now);
            let url = weir_config::redacted(&self.url);
            tracing::warn!("the collector at {url} does not take spans: {error}");
        }
    }
}

/// Where spans are posted to: the endpoint, with the usual path if it has none.
fn url(endpoint: &str) -> String {
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    match host.split_once('/') {
        None => format!("{endpoint}/v1/traces"),
        Some((_, "")) => format!("{endpoint}v1/traces"),
        Some(_) => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_path_gets_the_usual_one() {
        assert_eq!(url("http://h:4318"), "http://h:4318/v1/traces");
        assert_eq!(url("http://h:4318/"), "http://h:4318/v1/traces");
        assert_eq!(url("https://h/otlp"), "https://h/otlp");
    }
}
