//! What a route changes in a request before it goes on.

use bytes::Bytes;
use regex::bytes::{Captures, Regex};
use weir_abi::HeaderMap;

use super::{Forward, without_query};

/// How a path changes; its query stays.
#[derive(Debug)]
pub(super) enum PathRewrite {
    /// What has matched is replaced.
    Prefix(String),
    Regex(RegexRewrite),
}

/// How an authority changes.
#[derive(Debug)]
pub(super) enum HostRewrite {
    Literal(Bytes),
    /// To the value of this header, lower case, if there is one.
    Header(String),
}

/// Every part of a text that matches is replaced.
#[derive(Debug)]
pub(super) struct RegexRewrite {
    regex: Regex,
    substitution: Vec<Piece>,
}

/// A piece of a substitution.
#[derive(Debug)]
enum Piece {
    Text(Vec<u8>),
    Group(usize),
}

/// Why a substitution is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubstitutionError {
    #[error("`\\{0}` in a substitution is neither a group, `\\0` to `\\9`, nor `\\\\`")]
    Escape(char),
    #[error("the substitution ends with a single `\\`")]
    End,
    #[error("the substitution names group {0}, and the pattern has {1}")]
    Group(usize, usize),
}

impl RegexRewrite {
    /// `substitution` as in RE2: `\1` stands for the first group.
    pub(super) fn new(regex: Regex, substitution: &str) -> Result<Self, SubstitutionError> {
        let mut pieces = Vec::new();
        let mut text = Vec::new();
        let mut chars = substitution.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            match chars.next().ok_or(SubstitutionError::End)? {
                '\\' => text.push(b'\\'),
                digit => {
                    let group = digit.to_digit(10).ok_or(SubstitutionError::Escape(digit))?;
                    let group = group as usize;
                    let groups = regex.captures_len() - 1;
                    if group > groups {
                        return Err(SubstitutionError::Group(group, groups));
                    }
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                    pieces.push(Piece::Group(group));
                }
            }
        }
        pieces.push(Piece::Text(text));
        Ok(Self {
            regex,
            substitution: pieces,
        })
    }

    pub(super) fn apply(&self, text: &[u8]) -> Vec<u8> {
        let replace = |found: &Captures<'_>| {
            let mut out = Vec::new();
            for piece in &self.substitution {
                match piece {
                    Piece::Text(text) => out.extend_from_slice(text),
                    Piece::Group(group) => {
                        out.extend_from_slice(found.get(*group).map_or(b"", |m| m.as_bytes()));
                    }
                }
            }
            out
        };
        self.regex.replace_all(text, replace).into_owned()
    }
}

impl PathRewrite {
    /// The new path, query included. `matched` is how much of `path` the route
    /// has matched.
    pub(super) fn apply(&self, path: &[u8], matched: usize) -> Vec<u8> {
        match self {
            Self::Prefix(prefix) => {
                [prefix.as_bytes(), path.get(matched..).unwrap_or_default()].concat()
            }
            Self::Regex(rewrite) => {
                let (path, query) = path.split_at(without_query(path).len());
                let mut path = rewrite.apply(path);
                path.extend_from_slice(query);
                path
            }
        }
    }
}

impl Forward {
    /// Changes path and authority as the route says.
    pub(crate) fn rewrite(&self, request: &mut HeaderMap) {
        if let Some((rewrite, matched)) = &self.path_rewrite
            && let Some(path) = request.get(b":path").cloned()
        {
            let new = rewrite.apply(&path, matched.len(&path));
            // As in Envoy, a rewrite that leaves nothing changes nothing.
            if !new.is_empty() {
                request.overwrite(":path", new);
                if self.envoy_headers {
                    request.replace("x-envoy-original-path", path);
                }
            }
        }
        let host = match &self.host_rewrite {
            Some(HostRewrite::Literal(host)) => Some(host.clone()),
            Some(HostRewrite::Header(name)) => request.get(name.as_bytes()).cloned(),
            None => None,
        };
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            self.replace_host(request, host);
        }
    }

    /// Gives the request another authority.
    pub(crate) fn replace_host(&self, request: &mut HeaderMap, host: Bytes) {
        let was = request.get(b":authority").cloned();
        if let Some(was) = was.filter(|_| self.envoy_headers) {
            request.replace("x-envoy-original-host", was);
        }
        request.overwrite(":authority", host);
    }
}
