//! [`Run`]: one stream through a chain, with the client and the upstream played by
//! the test.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{Direction, HeaderMap};

use super::journal::Journal;
use crate::filter::Plugin;
use crate::stream::{FilteredStream, Frame, ResponseState, UpstreamFailure};

/// One stream, with everything that has come out of it.
pub(super) struct Run {
    pub(super) stream: Rc<FilteredStream>,
    plugins: Vec<Rc<Plugin>>,
    journal: Rc<Journal>,
    upstream: RefCell<Vec<String>>,
    client: RefCell<Vec<String>>,
}

impl Run {
    pub(super) fn new(
        stream: Rc<FilteredStream>,
        plugins: Vec<Rc<Plugin>>,
        journal: Rc<Journal>,
    ) -> Self {
        Self {
            stream,
            plugins,
            journal,
            upstream: RefCell::default(),
            client: RefCell::default(),
        }
    }

    pub(super) fn request(&self, end_of_stream: bool) {
        self.stream.request_headers(end_of_stream);
        self.pump();
    }

    /// A piece of the request's body; the end when it is empty.
    pub(super) fn body(&self, chunk: &str) {
        self.feed(Direction::Request, chunk, chunk.is_empty());
    }

    /// The upstream's response headers: 200, to be followed by a body.
    pub(super) fn respond(&self) {
        self.respond_with(&[(":status", "200")], false);
    }

    pub(super) fn respond_with(&self, headers: &[(&'static str, &'static str)], eos: bool) {
        let headers = headers.iter().copied().collect();
        self.stream.response_headers(headers, eos);
        self.pump();
    }

    /// A piece of the response's body; the end when it is empty.
    pub(super) fn response_body(&self, chunk: &str) {
        self.feed(Direction::Response, chunk, chunk.is_empty());
    }

    /// A whole response.
    pub(super) fn respond_all(&self) {
        self.respond();
        self.response_body("ok");
        self.response_body("");
    }

    pub(super) fn feed(&self, direction: Direction, chunk: &str, end_of_stream: bool) {
        let bytes = Bytes::copy_from_slice(chunk.as_bytes());
        match direction {
            Direction::Request => self.stream.request_body(bytes.into(), end_of_stream),
            Direction::Response => self.stream.response_body(bytes.into(), end_of_stream),
        }
        self.pump();
    }

    pub(super) fn upstream_closes(&self) {
        self.stream.fail_upstream(&UpstreamFailure::Closed);
        self.pump();
    }

    /// Does what the stream's driver does whenever something has happened.
    pub(super) fn pump(&self) {
        self.stream.handle_events();
        while let Some(frame) = self.stream.next_for_downstream() {
            if matches!(frame, Frame::Headers { .. }) {
                self.stream.set_headers_sent();
            }
            let text = text(&frame, &self.stream, Direction::Response);
            self.client.borrow_mut().push(text);
        }
        while let Some(frame) = self.stream.next_for_upstream() {
            let text = text(&frame, &self.stream, Direction::Request);
            self.upstream.borrow_mut().push(text);
        }
    }

    /// What the upstream has received since this was last asked for.
    pub(super) fn upstream(&self) -> Vec<String> {
        self.upstream.take()
    }

    /// What the client has received since this was last asked for.
    pub(super) fn client(&self) -> Vec<String> {
        self.client.take()
    }

    /// What guests have logged since this was last asked for.
    pub(super) fn told(&self) -> Vec<String> {
        self.journal.take()
    }

    pub(super) fn state(&self) -> ResponseState {
        self.stream.response_state()
    }

    pub(super) fn details(&self) -> String {
        String::from_utf8_lossy(&self.stream.info.code_details()).into_owned()
    }

    /// A response header as the filters left it.
    pub(super) fn response_header(&self, name: &str) -> Option<String> {
        let map = self.stream.response_map()?;
        map.get(name.as_bytes()).map(|v| lossy(v))
    }

    /// All response headers as the filters left them.
    pub(super) fn response_headers(&self) -> String {
        let map = self.stream.response_map();
        map.map_or_else(String::new, |map| pairs(&map))
    }

    /// All request headers as the filters left them.
    pub(super) fn request_headers(&self) -> String {
        pairs(&self.stream.request_map())
    }

    /// Ends the stream; no context and no reference to it stays behind.
    pub(super) fn finish(&self) {
        self.stream.finish();
        for (vm, _) in self.plugins.iter().filter_map(|p| p.running()) {
            assert_eq!(vm.active_streams(), 0);
        }
        assert_eq!(Rc::strong_count(&self.stream), 1);
    }

    /// What guests log while the stream ends.
    pub(super) fn told_at_the_end(&self) -> Vec<String> {
        self.told();
        self.finish();
        self.told()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pairs(map: &HeaderMap) -> String {
    let pairs = map
        .iter()
        .map(|(k, v)| format!("{}={}", lossy(k), lossy(v)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// `headers`, `'body'` or `trailers a=1`, with ` eos` behind what ends a message.
fn text(frame: &Frame, stream: &FilteredStream, direction: Direction) -> String {
    let (text, end) = match frame {
        Frame::Headers { end_of_stream } => ("headers".to_owned(), *end_of_stream),
        Frame::Body {
            data,
            end_of_stream,
        } => (format!("'{}'", lossy(&data.to_bytes())), *end_of_stream),
        Frame::Trailers => {
            let trailers = stream.trailers(direction);
            let trailers = trailers.map_or_else(String::new, |t| pairs(&t));
            (format!("trailers {trailers}"), true)
        }
    };
    if end { format!("{text} eos") } else { text }
}
