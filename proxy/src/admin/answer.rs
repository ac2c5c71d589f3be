//! [`Answer`]: what the admin says.

use std::future::poll_fn;
use std::io;

use bytes::Bytes;
use serde_json::Value as Json;
use weir_abi::HeaderMap;

use crate::http::{Downstream, H1Downstream};

const TEXT: &str = "text/plain; charset=utf-8";

/// What the admin says.
pub(super) struct Answer {
    pub(super) code: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// What happens once it is said.
    after: Option<Box<dyn FnOnce()>>,
}

impl Answer {
    pub(super) fn new(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            code,
            content_type,
            headers: Vec::new(),
            body: body.into(),
            after: None,
        }
    }

    /// 200, with a text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::new(200, TEXT, text.into())
    }

    /// Another code, with a text.
    pub(super) fn code(code: u16, text: impl Into<String>) -> Self {
        Self::new(code, TEXT, text.into())
    }

    pub(super) fn json(value: &Json) -> Self {
        Self::new(200, "application/json", format!("{value:#}\n"))
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Has something happen once it is said, or could not be.
    pub(super) fn then(mut self, after: impl FnOnce() + 'static) -> Self {
        self.after = Some(Box::new(after));
        self
    }

    /// Sends it; without its body, if the request was HEAD.
    pub(super) async fn write(mut self, downstream: &mut H1Downstream) -> io::Result<()> {
        let after = self.after.take();
        let written = self.send(downstream).await;
        if let Some(after) = after {
            after();
        }
        written
    }

    async fn send(self, downstream: &mut H1Downstream) -> io::Result<()> {
        let own = [
            (":status", self.code.to_string()),
            ("content-type", self.content_type.to_owned()),
            ("cache-control", "no-cache, max-age=0".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            ("content-length", self.body.len().to_string()),
        ];
        let headers: HeaderMap = own.into_iter().chain(self.headers).collect();
        downstream
            .send_headers(&headers, false)
            .map_err(io::Error::other)?;
        downstream
            .send_body(self.body.into(), true)
            .map_err(io::Error::other)?;
        let flushed = poll_fn(|context| downstream.poll_flush(context)).await;
        flushed.map_err(io::Error::other)
    }
}
