//! The response on its way from the filters to the client.

use weir_abi::Direction;
use weir_config::ServerHeader;

use super::{Exchange, RequestReader, ResponseWriter};
use crate::http::Downstream;
use crate::request;
use crate::stream::{Frame, count, parse_status};

impl<D: Downstream> Exchange<'_, D> {
    pub(super) fn send_downstream(&mut self, frame: Frame) {
        self.unflushed = true;
        let (sent, ends) = match frame {
            Frame::Headers { end_of_stream } => return self.send_response(end_of_stream),
            Frame::Body {
                data,
                end_of_stream,
            } => {
                count(&self.stream.info.bytes_sent, data.len());
                let sent = self.downstream.send_body(data, end_of_stream);
                (sent, end_of_stream)
            }
            Frame::Trailers => {
                let trailers = self.stream.trailers(Direction::Response);
                let sent = trailers.map_or(Ok(()), |t| self.downstream.send_trailers(&t));
                (sent, true)
            }
        };
        if let Err(error) = sent {
            tracing::debug!("response: {error}");
            self.stream.cut_response("content_length_mismatch");
        } else if ends {
            self.response = ResponseWriter::Complete;
        }
    }

    fn send_response(&mut self, end_of_stream: bool) {
        self.timers.stop_request();
        self.finish_response_headers();
        let Some(headers) = self.stream.response_map() else {
            return;
        };
        let sent = self.downstream.send_headers(&headers, end_of_stream);
        let code = headers.get(b":status").and_then(|s| parse_status(s));
        drop(headers);
        match sent {
            Ok(()) => {
                self.stream.set_headers_sent();
                self.begun = !self.dispatching;
                self.stream.info.response_code.set(code);
                self.response = if end_of_stream {
                    ResponseWriter::Complete
                } else {
                    ResponseWriter::Body
                };
            }
            Err(error) => {
                let reason = error.to_string();
                let details = format!("invalid_response{{{reason}}}");
                if std::mem::replace(&mut self.refused, true) {
                    // The answer that says so is no better.
                    self.stream.cut_response(&details);
                } else {
                    self.stream.fail_response(&details, &reason);
                }
            }
        }
    }

    /// Adds to the response's headers what the proxy itself has to say.
    fn finish_response_headers(&mut self) {
        let Some(mut headers) = self.stream.response_map() else {
            return;
        };
        if let (Some(istio), Some(record)) = (&self.listener.istio, &self.stream.info.istio) {
            istio.answer(&mut headers, record);
        }
        self.stream.mark_origin(&mut headers);
        // Framing is the codec's; what is logged is what the client gets.
        headers.remove(b"transfer-encoding");
        if self.switch.is_none() {
            headers.remove(b"connection");
        }
        if !headers.contains(b"date") {
            headers.add("date", self.shared.date());
        }
        let http = &self.listener.http;
        match http.server_header {
            ServerHeader::Overwrite => headers.overwrite("server", http.server_name.clone()),
            ServerHeader::AppendIfAbsent if !headers.contains(b"server") => {
                headers.add("server", http.server_name.clone());
            }
            ServerHeader::AppendIfAbsent | ServerHeader::PassThrough => {}
        }
        if let Some(via) = &http.via {
            request::append(&mut headers, "via", via, ", ");
        }
        // An unread rest of the request would be taken for the next one.
        let unread = self.request == RequestReader::Reading && self.switch.is_none();
        let ending = self.shared.is_draining() || self.listener.is_retired();
        // As in Envoy, who sends what is bad is not listened to any longer.
        let bad = self.stream.is_bad_request();
        if unread || ending || bad || self.request == RequestReader::Gone {
            self.downstream.close_after_response();
        }
        if self.downstream.closes_after_response() {
            headers.overwrite("connection", "close");
        }
    }
}
