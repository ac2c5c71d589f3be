//! Istio's standard metrics. Each worker has cells of its own for each set of labels; they
//! stay when filter chains come and go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use weir_config::IstioMetric as Metric;

use super::cell::{Counter, PLAIN, REQUEST_TIME, Samples};
use super::family::{self as f, Family};
use super::page::{Page, Value};
use crate::limits::ISTIO_CELLS;

/// The metrics that there are, in the order of the documentation.
pub(crate) const ISTIO_METRICS: [Metric; 10] = [
    Metric::Requests,
    Metric::RequestDuration,
    Metric::RequestBytes,
    Metric::ResponseBytes,
    Metric::RequestMessages,
    Metric::ResponseMessages,
    Metric::ConnectionsOpened,
    Metric::ConnectionsClosed,
    Metric::SentBytes,
    Metric::ReceivedBytes,
];

/// Names and values of labels.
pub(crate) type IstioLabels = Arc<[(String, String)]>;

/// One metric with one set of labels.
#[derive(Debug, Clone)]
enum Cell {
    Count(Arc<Counter>),
    Samples(Arc<Samples>),
}

/// The cells of one worker. Locked for labels that are new and to read, not to count.
#[derive(Debug, Default)]
pub(crate) struct IstioCells(Mutex<HashMap<(Metric, IstioLabels), Cell>>);

/// Where requests with one set of labels are counted; metrics that are left out have no
/// cells.
#[derive(Debug)]
pub(crate) struct IstioRequestCells {
    requests: Option<Arc<Counter>>,
    time: Option<Arc<Samples>>,
    request_bytes: Option<Arc<Samples>>,
    response_bytes: Option<Arc<Samples>>,
    /// Of gRPC only.
    request_messages: Option<Arc<Counter>>,
    response_messages: Option<Arc<Counter>>,
}

impl IstioRequestCells {
    /// Messages of gRPC have gone in either direction.
    pub(crate) fn count_messages(&self, requests: u64, responses: u64) {
        add(self.request_messages.as_ref(), requests);
        add(self.response_messages.as_ref(), responses);
    }

    /// A request is over.
    pub(crate) fn count(&self, took: Duration, request_bytes: u64, response_bytes: u64) {
        add(self.requests.as_ref(), 1);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (samples, sample) in [
            (&self.time, took),
            (&self.request_bytes, request_bytes),
            (&self.response_bytes, response_bytes),
        ] {
            if let Some(samples) = samples {
                samples.record(sample);
            }
        }
    }
}

/// The same of connections.
#[derive(Debug)]
pub(crate) struct IstioConnectionCells {
    opened: Option<Arc<Counter>>,
    closed: Option<Arc<Counter>>,
    received: Option<Arc<Counter>>,
    sent: Option<Arc<Counter>>,
}

impl IstioConnectionCells {
    pub(crate) fn opened(&self) {
        add(self.opened.as_ref(), 1);
    }

    pub(crate) fn closed(&self) {
        add(self.closed.as_ref(), 1);
    }

    /// Bytes have gone from the client, and to it.
    pub(crate) fn carried(&self, received: u64, sent: u64) {
        add(self.received.as_ref(), received);
        add(self.sent.as_ref(), sent);
    }
}

fn add(counter: Option<&Arc<Counter>>, n: u64) {
    if let Some(counter) = counter {
        counter.add(n);
    }
}

/// What gives the labels of a metric, unless it is left out.
type LabelsOf<'l> = &'l dyn Fn(Metric) -> Option<IstioLabels>;

/// Whether there is room for labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// As long as there are not too many.
    Limited,
    /// In any case: they are there once.
    Kept,
}

/// There is no room.
struct NoRoom;

impl IstioCells {
    /// The cells of these labels of requests; `None` if there is no room.
    pub(crate) fn request(
        &self,
        labels: LabelsOf<'_>,
        room: Room,
        is_grpc: bool,
    ) -> Option<IstioRequestCells> {
        let counter = |metric| self.counter(metric, labels, room).ok();
        let samples = |metric| self.samples(metric, labels, room).ok();
        Some(IstioRequestCells {
            requests: counter(Metric::Requests)?,
            time: samples(Metric::RequestDuration)?,
            request_bytes: samples(Metric::RequestBytes)?,
            response_bytes: samples(Metric::ResponseBytes)?,
            request_messages: match is_grpc {
                true => counter(Metric::RequestMessages)?,
                false => None,
            },
            response_messages: match is_grpc {
                true => counter(Metric::ResponseMessages)?,
                false => None,
            },
        })
    }

    /// The cells of these labels of connections; `None` if there is no room.
    pub(crate) fn connection(
        &self,
        labels: LabelsOf<'_>,
        room: Room,
    ) -> Option<IstioConnectionCells> {
        let counter = |metric| self.counter(metric, labels, room).ok();
        Some(IstioConnectionCells {
            opened: counter(Metric::ConnectionsOpened)?,
            closed: counter(Metric::ConnectionsClosed)?,
            received: counter(Metric::ReceivedBytes)?,
            sent: counter(Metric::SentBytes)?,
        })
    }

    /// `None` if it is left out.
    fn counter(
        &self,
        metric: Metric,
        labels: LabelsOf<'_>,
        room: Room,
    ) -> Result<Option<Arc<Counter>>, NoRoom> {
        let cell = self.cell(metric, labels, room, || Cell::Count(Arc::default()))?;
        Ok(match cell {
            Some(Cell::Count(counter)) => Some(counter),
            Some(Cell::Samples(_)) | None => None,
        })
    }

    /// `None` if it is left out.
    fn samples(
        &self,
        metric: Metric,
        labels: LabelsOf<'_>,
        room: Room,
    ) -> Result<Option<Arc<Samples>>, NoRoom> {
        let buckets = match metric {
            Metric::RequestDuration => &REQUEST_TIME,
            _ => &PLAIN,
        };
        let new = || Cell::Samples(Arc::new(Samples::new(buckets)));
        Ok(match self.cell(metric, labels, room, new)? {
            Some(Cell::Samples(samples)) => Some(samples),
            Some(Cell::Count(_)) | None => None,
        })
    }

    fn cell(
        &self,
        metric: Metric,
        labels: LabelsOf<'_>,
        room: Room,
        new: impl FnOnce() -> Cell,
    ) -> Result<Option<Cell>, NoRoom> {
        let Some(labels) = labels(metric) else {
            return Ok(None);
        };
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = cells.len() >= ISTIO_CELLS && room == Room::Limited;
        let key = (metric, labels);
        match cells.get(&key) {
            Some(cell) => Ok(Some(cell.clone())),
            None if is_full => Err(NoRoom),
            None => Ok(Some(cells.entry(key).or_insert_with(new).clone())),
        }
    }

    pub(super) fn show(&self, page: &mut Page) {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((metric, labels), cell) in cells.iter() {
            let value = match cell {
                Cell::Count(counter) => Value::Count(counter.get()),
                Cell::Samples(samples) => Value::Samples(samples.snapshot()),
            };
            page.add_labelled(family(*metric), labels.to_vec(), value);
        }
    }
}

fn family(metric: Metric) -> &'static Family {
    match metric {
        Metric::Requests => &f::ISTIO_REQUESTS,
        Metric::RequestDuration => &f::ISTIO_REQUEST_DURATION,
        Metric::RequestBytes => &f::ISTIO_REQUEST_BYTES,
        Metric::ResponseBytes => &f::ISTIO_RESPONSE_BYTES,
        Metric::ConnectionsOpened => &f::ISTIO_CONNECTIONS_OPENED,
        Metric::ConnectionsClosed => &f::ISTIO_CONNECTIONS_CLOSED,
        Metric::SentBytes => &f::ISTIO_SENT_BYTES,
        Metric::ReceivedBytes => &f::ISTIO_RECEIVED_BYTES,
        Metric::RequestMessages => &f::ISTIO_REQUEST_MESSAGES,
        Metric::ResponseMessages => &f::ISTIO_RESPONSE_MESSAGES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_labels_and_for_those_that_are_kept() {
        let cells = IstioCells::default();
        let connection = |n: usize, room| {
            let labels: IstioLabels = vec![("n".to_owned(), n.to_string())].into();
            let cells = cells.connection(&|_| Some(Arc::clone(&labels)), room);
            cells.is_some()
        };
        for n in 0..ISTIO_CELLS / 4 {
            assert!(connection(n, Room::Limited), "{n}");
        }
        assert!(!connection(ISTIO_CELLS, Room::Limited));
        assert!(connection(0, Room::Limited), "it is there");
        assert!(connection(ISTIO_CELLS, Room::Kept));
        assert!(connection(ISTIO_CELLS, Room::Limited), "it is there");
    }
}
