//! [`Stats`]: Istio's standard metrics of a filter chain, on one worker.

mod changes;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weir_abi::Direction as Way;
use weir_config::{Direction, IstioMetric as Metric, IstioReporter, IstioStats, IstioTag as Tag};

use self::changes::Changes;
use super::labels::{Ends, Values};
use super::record::Record;
use super::workload::Workload;
use crate::limits::ISTIO_LABEL_SETS;
use crate::stream::{Facts, FilteredStream, grpc_status_of};
use crate::telemetry::{
    IstioCells, IstioConnectionCells, IstioLabels, IstioRequestCells, IstioRoom as Room,
};

/// What stands in the place of labels for which there is no room.
const OVERFLOW: &str = "overflow";

/// Metrics of a filter chain.
pub(super) struct Stats {
    reporter: IstioReporter,
    takes_host: bool,
    /// How often connections that are open are counted.
    pub(super) interval: Option<Duration>,
    changes: Changes,
    own: Workload,
    cells: Arc<IstioCells>,
    requests: Known<IstioRequestCells>,
    connections: Known<IstioConnectionCells>,
}

/// The cells of labels that there were, by their values.
struct Known<C> {
    cells: RefCell<HashMap<Vec<u8>, Rc<C>>>,
    /// The values of the stream that is counted just now.
    key: RefCell<Vec<u8>>,
    /// Of what there is no room for, and of gRPC.
    overflow: [RefCell<Option<Rc<C>>>; 2],
}

impl<C> Default for Known<C> {
    fn default() -> Self {
        Self {
            cells: RefCell::default(),
            key: RefCell::default(),
            overflow: [const { RefCell::new(None) }; 2],
        }
    }
}

impl Stats {
    pub(super) fn new(options: &IstioStats, facts: &Facts, cells: Arc<IstioCells>) -> Self {
        let of_listener = match facts.direction {
            Direction::Inbound => IstioReporter::Destination,
            _ => IstioReporter::Source,
        };
        Self {
            reporter: options.reporter.unwrap_or(of_listener),
            takes_host: options.host_header_fallback,
            interval: options.tcp_reporting_duration,
            changes: Changes::of(&options.metrics),
            own: Workload::of_node(&facts.node),
            cells,
            requests: Known::default(),
            connections: Known::default(),
        }
    }

    /// A request is over.
    pub(super) fn count_request(&self, stream: &Rc<FilteredStream>, record: &Record) {
        let info = &stream.info;
        let ends = Ends::of(self.reporter, self.takes_host, stream, record);
        let mut values = ends.values(&self.own);
        let is_grpc = record.is_grpc;
        let code = info.response_code.get().unwrap_or_default().to_string();
        let grpc = is_grpc.then(|| grpc_status_of(stream)).flatten();
        let grpc = grpc.map(|status| status.to_string()).unwrap_or_default();
        let flags = info.flags().to_string();
        let protocol = if is_grpc { "grpc" } else { "http" };
        values.set(Tag::RequestProtocol, protocol);
        values.set(Tag::ResponseCode, &code);
        values.set(Tag::GrpcResponseStatus, &grpc);
        values.set(Tag::ResponseFlags, &flags);
        let added = self.changes.evaluate(stream);
        let labels = (&self.changes, &values, &*added);
        let cells = self.requests.cells(labels, is_grpc, |labels, room| {
            self.cells.request(labels, room, is_grpc)
        });
        let Some(cells) = cells else {
            return;
        };
        let request = stream.headers_bytes(Way::Request) + info.bytes_received.get();
        let response = stream.headers_bytes(Way::Response) + info.bytes_sent.get();
        cells.count(info.elapsed(), request, response);
        let (requests, responses) = record.messages();
        cells.count_messages(requests, responses);
    }

    /// What a connection has carried since the last time.
    pub(super) fn count_connection(&self, stream: &Rc<FilteredStream>, record: &Record) {
        let known = record.cells.borrow().clone();
        let cells = known.or_else(|| {
            let cells = self.open_connection(stream, record)?;
            cells.opened();
            Some(Rc::clone(record.cells.borrow_mut().insert(cells)))
        });
        let Some(cells) = cells else {
            return;
        };
        let (received, sent) = (
            stream.info.bytes_received.get(),
            stream.info.bytes_sent.get(),
        );
        cells.carried(
            received - record.received.replace(received),
            sent - record.sent.replace(sent),
        );
    }

    /// A connection is over.
    pub(super) fn close_connection(&self, stream: &Rc<FilteredStream>, record: &Record) {
        self.count_connection(stream, record);
        if let Some(cells) = &*record.cells.borrow() {
            cells.closed();
        }
    }

    /// Where a connection is counted.
    fn open_connection(
        &self,
        stream: &Rc<FilteredStream>,
        record: &Record,
    ) -> Option<Rc<IstioConnectionCells>> {
        let ends = Ends::of(self.reporter, self.takes_host, stream, record);
        let mut values = ends.values(&self.own);
        let flags = stream.info.flags().to_string();
        values.set(Tag::RequestProtocol, "tcp");
        values.set(Tag::ResponseFlags, &flags);
        let added = self.changes.evaluate(stream);
        let labels = (&self.changes, &values, &*added);
        self.connections.cells(labels, false, |labels, room| {
            self.cells.connection(labels, room)
        })
    }
}

impl<C> Known<C> {
    /// The cells of these labels: a look-up without a lock, unless they are new.
    fn cells(
        &self,
        (changes, values, added): (&Changes, &Values<'_>, &[String]),
        is_grpc: bool,
        new: impl Fn(&dyn Fn(Metric) -> Option<IstioLabels>, Room) -> Option<C>,
    ) -> Option<Rc<C>> {
        let mut key = self.key.borrow_mut();
        key.clear();
        key.push(is_grpc.into());
        for tag in &changes.used {
            key.extend_from_slice(values.of(*tag).as_bytes());
            key.push(0);
        }
        for value in added {
            key.extend_from_slice(value.as_bytes());
            key.push(0);
        }
        let mut cells = self.cells.borrow_mut();
        if let Some(known) = cells.get(key.as_slice()) {
            return Some(Rc::clone(known));
        }
        let is_full = cells.len() >= ISTIO_LABEL_SETS;
        let all = |metric| changes.labels(metric, |tag| values.of(tag), added);
        if !is_full && let Some(new) = new(&all, Room::Limited) {
            let new = Rc::new(new);
            cells.insert(key.clone(), Rc::clone(&new));
            return Some(new);
        }
        let kept = &self.overflow[usize::from(is_grpc)];
        let overflow = kept.borrow().clone();
        let overflow = overflow.or_else(|| {
            let of_tag = |tag| match tag {
                Tag::Reporter => values.of(tag),
                _ => OVERFLOW,
            };
            let added = vec![OVERFLOW.to_owned(); added.len()];
            let few = |metric| changes.labels(metric, of_tag, &added);
            let new = Rc::new(new(&few, Room::Kept)?);
            Some(Rc::clone(kept.borrow_mut().insert(new)))
        })?;
        if !is_full {
            // It is not asked for again.
            cells.insert(key.clone(), Rc::clone(&overflow));
        }
        Some(overflow)
    }
}
