//! What a request, a connection or a client must be like (Envoy's
//! `filters/common/rbac/matchers.cc`).

use std::ops::Range;

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::Address;

use super::metadata::MetadataMatcher;
use super::ranges::Ranges;
use crate::route::{HeaderMatcher, TextMatcher, without_query};
use crate::stream::{ConnectionInfo, StreamInfo};

/// Who wants what.
pub(crate) struct Subject<'a> {
    pub(crate) connection: &'a ConnectionInfo,
    /// The client, by what proxies in front tell of it, too.
    pub(crate) client: &'a Address,
    /// Headers of the request, if it is one.
    pub(crate) request: Option<&'a HeaderMap>,
    /// What else is known of the request, or of the connection where it is passed on as
    /// it is.
    pub(crate) info: Option<&'a StreamInfo>,
    /// What filters have set for the request, or for a connection that is passed on.
    pub(crate) state: &'a dyn Fn(&[u8]) -> Option<Bytes>,
}

/// Whose address is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Where the client has connected to.
    Destination,
    /// The client's, by the connection or its PROXY header.
    Source,
    /// That of whoever has connected.
    DirectRemote,
    /// The client's, by what proxies in front tell of it, too.
    Remote,
}

#[derive(Debug)]
pub(super) enum Condition {
    Any,
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Header(HeaderMatcher),
    Path(TextMatcher),
    Address(Whose, Ranges),
    Port(Range<u32>),
    ServerName(TextMatcher),
    /// The connection is encrypted.
    Encrypted,
    /// It is, and the client's certificate is for such a name.
    Principal(TextMatcher),
    Metadata(MetadataMatcher),
    State(String, TextMatcher),
    StateAddress(String, Ranges),
}

impl Condition {
    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        let connection = subject.connection;
        match self {
            Self::Any => true,
            Self::And(all) => all.iter().all(|one| one.matches(subject)),
            Self::Or(all) => all.iter().any(|one| one.matches(subject)),
            Self::Not(one) => !one.matches(subject),
            Self::Header(header) => subject.request.is_some_and(|r| header.matches(r)),
            Self::Path(text) => {
                let path = subject.request.and_then(|request| request.get(b":path"));
                path.is_some_and(|path| text.matches(without_query(path)))
            }
            Self::Address(whose, ranges) => ranges.contain(match whose {
                Whose::Destination => &connection.local,
                Whose::Source => &connection.peer,
                Whose::DirectRemote => &connection.direct,
                Whose::Remote => subject.client,
            }),
            Self::Port(ports) => {
                let port = connection.local.port();
                port.is_some_and(|port| ports.contains(&port.into()))
            }
            Self::ServerName(text) => text.matches(connection.requested_server_name().as_bytes()),
            Self::Encrypted => connection.tls.is_some(),
            Self::Principal(text) => is_for(connection, text),
            Self::Metadata(wanted) => wanted.matches(subject),
            Self::State(key, text) => {
                let value = (subject.state)(key.as_bytes());
                value.is_some_and(|value| text.matches(&value))
            }
            Self::StateAddress(key, ranges) => {
                let value = (subject.state)(key.as_bytes());
                let address = value.as_ref().and_then(|v| std::str::from_utf8(v).ok());
                let address = address.and_then(|text| text.parse().ok());
                address.is_some_and(|address| ranges.contain_ip(address))
            }
        }
    }
}

/// Whether the client's certificate is for such a name: a URI, a DNS name, or else its
/// subject, which is empty where it has shown none.
fn is_for(connection: &ConnectionInfo, text: &TextMatcher) -> bool {
    let Some(tls) = &connection.tls else {
        return false;
    };
    let Some(peer) = &tls.peer else {
        return text.matches(b"");
    };
    let mut names = peer.uri_sans.iter().chain(&peer.dns_sans);
    names.any(|name| text.matches(name.as_bytes())) || text.matches(peer.subject.as_bytes())
}
