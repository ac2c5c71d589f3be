//! Parts of HTTP/2 messages between steps, the `h2` crate, and the journal.

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::journal::{End, Journal};
use super::socket::Side;
use super::step::Header;
use super::text::show;

/// The regular headers among those of a step.
///
/// # Errors
///
/// If one cannot be sent by the `h2` crate.
pub(super) fn regular(headers: &[Header]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(':')) {
        let parsed =
            HeaderName::from_bytes(name.as_bytes()).with_context(|| format!("header {name}"))?;
        map.append(
            parsed,
            HeaderValue::from_bytes(value).with_context(|| format!("header {name}"))?,
        );
    }
    Ok(map)
}

/// The value of a pseudo-header among those of a step.
#[must_use]
pub(super) fn pseudo<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(own, _)| own == name)?;
    std::str::from_utf8(&found.1).ok()
}

/// Headers as lines.
#[must_use]
pub(super) fn lines(headers: &HeaderMap) -> Vec<String> {
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", show(value.as_bytes())))
        .collect()
}

/// The code that a reset is to have.
///
/// # Errors
///
/// If there is none of that name.
pub(super) fn reason(name: Option<&str>) -> Result<Reason> {
    let name = name.unwrap_or("CANCEL");
    (0..14)
        .map(Reason::from)
        .find(|reason| format!("{reason:?}") == name)
        .with_context(|| format!("no reset code {name}"))
}

/// How an error of a stream is noted.
#[must_use]
pub(super) fn ending(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_go_away() => format!("GOAWAY {reason:?}"),
        Some(reason) => format!("reset {reason:?}"),
        None => "connection closed".to_owned(),
    }
}

/// Reads a body and its trailers into the journal, until they end.
pub(super) async fn receive(mut stream: RecvStream, side: Side, index: usize, journal: Journal) {
    let end = loop {
        match stream.data().await {
            Some(Ok(data)) => {
                // a window that cannot be given back is a connection that is gone
                stream.flow_control().release_capacity(data.len()).ok();
                append(side, index, &journal, &data);
            }
            Some(Err(error)) => break End::Cut(ending(&error)),
            None => match stream.trailers().await {
                Ok(trailers) => {
                    let trailers = trailers.as_ref().map(lines).unwrap_or_default();
                    journal.write(|entries| side.messages(entries)[index].trailers = trailers);
                    break End::Complete;
                }
                Err(error) => break End::Cut(ending(&error)),
            },
        }
    };
    journal.write(|entries| side.messages(entries)[index].end.get_or_insert(end).clone());
}

fn append(side: Side, index: usize, journal: &Journal, data: &Bytes) {
    journal.write(|entries| side.messages(entries)[index].body.extend(data));
}
