//! Writes an HTTP/1 message step by step.

use anyhow::{Result, bail};
use http::StatusCode;

use super::step::{Header, Step, ends_message};

/// What a message is written with; it remembers how the message is framed.
#[derive(Default)]
pub(super) struct Writer {
    out: Vec<u8>,
    chunked: bool,
    /// Bodies are not written: the answer to `HEAD`.
    pub(super) without_body: bool,
}

impl Writer {
    /// What is to be written now.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Appends what `steps[at]` writes.
    ///
    /// # Errors
    ///
    /// If it is no step that writes.
    pub(super) fn step(&mut self, steps: &[Step], at: usize) -> Result<()> {
        match &steps[at] {
            Step::Request {
                method,
                path,
                headers,
            } => {
                self.head(&format!("{method} {path} HTTP/1.1"), &with_host(headers));
                if self.chunked && ends_message(steps, at) {
                    self.out.extend(b"0\r\n\r\n");
                }
            }
            Step::Response {
                status,
                reason,
                headers,
            } => {
                let canonical = || StatusCode::from_u16(*status).ok()?.canonical_reason();
                let reason = reason.as_deref().or_else(canonical).unwrap_or("Unknown");
                let mut headers = headers.clone();
                if *status >= 200 && ![204, 304].contains(status) && !frames_itself(&headers) {
                    headers.push(("content-length".to_owned(), body_length(&steps[at + 1..])));
                }
                self.head(&format!("HTTP/1.1 {status} {reason}"), &headers);
            }
            Step::Body(bytes) | Step::Last(bytes) if self.without_body => drop(bytes.len()),
            Step::Body(bytes) | Step::Last(bytes) => {
                if self.chunked {
                    if !bytes.is_empty() {
                        self.out.extend(format!("{:x}\r\n", bytes.len()).as_bytes());
                        self.out.extend(bytes);
                        self.out.extend(b"\r\n");
                    }
                    if matches!(steps[at], Step::Last(_)) || ends_message(steps, at) {
                        self.out.extend(b"0\r\n\r\n");
                    }
                } else {
                    self.out.extend(bytes);
                }
            }
            Step::End if self.chunked => self.out.extend(b"0\r\n\r\n"),
            Step::End => {}
            Step::Trailers(headers) => {
                self.out.extend(b"0\r\n");
                self.fields(headers);
            }
            Step::Raw(bytes) => self.out.extend(bytes),
            step => bail!("{step:?} writes nothing"),
        }
        Ok(())
    }

    fn head(&mut self, first: &str, headers: &[Header]) {
        self.chunked = headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case(b"chunked")
        });
        self.out.extend(first.as_bytes());
        self.out.extend(b"\r\n");
        self.fields(headers);
    }

    fn fields(&mut self, headers: &[Header]) {
        for (name, value) in headers {
            self.out.extend(name.as_bytes());
            self.out.extend(b": ");
            self.out.extend(value);
            self.out.extend(b"\r\n");
        }
        self.out.extend(b"\r\n");
    }
}

/// Adds `host: test` unless there is one; `host:` without a value stands for none.
fn with_host(headers: &[Header]) -> Vec<Header> {
    let mut all = headers.to_vec();
    let mut hosts = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    match hosts.next() {
        None => all.insert(0, ("host".to_owned(), b"test".to_vec())),
        Some((_, value)) if value.is_empty() => {
            all.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
        }
        Some(_) => {}
    }
    all
}

/// Whether the end of a response's body is told by its headers, or by the end of
/// the connection.
fn frames_itself(headers: &[Header]) -> bool {
    let names = ["content-length", "transfer-encoding", "connection"];
    headers
        .iter()
        .any(|(name, _)| names.iter().any(|own| name.eq_ignore_ascii_case(own)))
}

fn body_length(steps: &[Step]) -> Vec<u8> {
    let body = steps
        .iter()
        .take_while(|step| !matches!(step, Step::Response { .. }));
    let length: usize = body
        .map(|step| match step {
            Step::Body(bytes) | Step::Last(bytes) => bytes.len(),
            _ => 0,
        })
        .sum();
    length.to_string().into_bytes()
}
