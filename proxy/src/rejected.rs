//! Requests whose head is not acceptable: answered before they reach a filter's
//! callbacks, but logged like any other.

use std::rc::Rc;

use weir_abi::HeaderMap;

use crate::http::{H1Downstream, HeadError};
use crate::limits::FILTER_BUFFER_BYTES;
use crate::stream::{ConnectionInfo, FilteredStream, Protocol, ResponseFlags, StreamInfo};
use crate::worker::{WorkerListener, WorkerShared};

/// Answers with `code`, logs the stream and ends the connection.
pub(crate) async fn answer(
    downstream: H1Downstream,
    code: u16,
    error: &HeadError,
    listener: &WorkerListener,
    shared: &Rc<WorkerShared>,
    connection: ConnectionInfo,
) {
    shared.metrics.downstream_request();
    let info = StreamInfo::new(connection, Protocol::Http11);
    info.flag(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
    let stream = FilteredStream::new(
        info,
        HeaderMap::new(),
        &listener.plugins,
        FILTER_BUFFER_BYTES,
    );
    let body = format!("{error}\n");
    stream.reject(code, &error.to_string(), body.len());
    let headers = stream.response_map().map(|h| h.clone()).unwrap_or_default();
    downstream.reject(&headers, body.as_bytes()).await;
    stream.finish();
    shared.metrics.downstream_response(Some(code));
    if let Some(log) = &listener.access_log {
        log.write(&stream);
    }
}
