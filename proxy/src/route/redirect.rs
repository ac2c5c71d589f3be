//! Where a redirect sends a client.

use bytes::Bytes;
use weir_abi::HeaderMap;

use super::matcher::Matched;
use super::rewrite::PathRewrite;
use super::without_query;

/// The client is sent elsewhere.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(super) status: u16,
    pub(super) scheme: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) path: Option<RedirectPath>,
    pub(super) strip_query: bool,
}

/// How the path is made.
#[derive(Debug)]
pub(super) enum RedirectPath {
    Whole(String),
    Rewrite(PathRewrite, Matched),
}

impl Redirect {
    /// To where the request went.
    pub(super) const UNCHANGED: Self = Self {
        status: 301,
        scheme: None,
        host: None,
        port: None,
        path: None,
        strip_query: false,
    };

    /// Status and `location` for `request`.
    pub(crate) fn answer(&self, request: &HeaderMap) -> (u16, Bytes) {
        let header = |name: &[u8]| request.get(name).map_or(&b""[..], |value| value);
        // What the client speaks to the first proxy; routes need it anyway.
        let was = header(b"x-forwarded-proto");
        let scheme = self.scheme.as_ref().map_or(was, String::as_bytes);
        let host = match &self.host {
            Some(host) => host.as_bytes(),
            None => self.host_of(header(b":authority"), was, scheme),
        };
        let port = self
            .port
            .map_or_else(String::new, |port| format!(":{port}"));
        let path = self.path_of(header(b":path"));
        let location = [scheme, b"://", host, port.as_bytes(), &path].concat();
        (self.status, location.into())
    }

    /// The request's host, without a port that would be the wrong one.
    fn host_of<'a>(&self, authority: &'a [u8], was: &[u8], scheme: &[u8]) -> &'a [u8] {
        let end = authority.iter().rposition(|b| *b == b':');
        let Some((host, port)) = end.map(|end| authority.split_at(end)) else {
            return authority;
        };
        let is_port = port.len() > 1 && port[1..].iter().all(u8::is_ascii_digit);
        let left = (was == b"https" && port == b":443") || (was == b"http" && port == b":80");
        if is_port && (self.port.is_some() || (left && was != scheme)) {
            host
        } else {
            authority
        }
    }

    fn path_of(&self, path: &[u8]) -> Vec<u8> {
        let query = &path[without_query(path).len()..];
        let kept = if self.strip_query { &b""[..] } else { query };
        match &self.path {
            // Its own query wins, and is never stripped.
            Some(RedirectPath::Whole(whole)) if whole.contains('?') => whole.clone().into(),
            Some(RedirectPath::Whole(whole)) => [whole.as_bytes(), kept].concat(),
            Some(RedirectPath::Rewrite(rewrite, matched)) => {
                let mut new = rewrite.apply(path, matched.len(path));
                if self.strip_query {
                    new.truncate(without_query(&new).len());
                }
                new
            }
            None => [without_query(path), kept].concat(),
        }
    }
}
