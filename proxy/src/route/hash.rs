//! [`HashPolicies`]: what of a request decides on its endpoint, as in Envoy
//! (`hash_policy.cc`).

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::{Address, CookieHash, HashPolicy, HashSource};

use crate::cluster;

/// The hash policies of a route.
#[derive(Debug, Default)]
pub(crate) struct HashPolicies(Vec<HashPolicy>);

/// What they make of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestHash {
    /// `None` if the request has nothing that they ask for.
    pub(crate) value: Option<u64>,
    /// Values of `set-cookie` that the response is to have.
    pub(crate) cookies: Vec<Bytes>,
}

impl HashPolicies {
    pub(super) fn new(policies: &[HashPolicy]) -> Self {
        let policies = policies.iter().cloned();
        Self(
            policies
                .map(|mut policy| {
                    if let HashSource::Header(name) = &mut policy.source {
                        name.make_ascii_lowercase();
                        if name == "host" {
                            ":authority".clone_into(name);
                        }
                    }
                    policy
                })
                .collect(),
        )
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash of a request of `client`, on a connection between `peer` and `local`.
    pub(crate) fn hash(
        &self,
        request: &HeaderMap,
        client: &Address,
        peer: &Address,
        local: &Address,
    ) -> RequestHash {
        let mut hash = RequestHash::default();
        for policy in &self.0 {
            let new = match &policy.source {
                HashSource::Header(name) => header(request, name),
                HashSource::Cookie(cookie) => match find_cookie(request, &cookie.name) {
                    Some(value) => Some(cluster::hash(value)),
                    None => cookie.ttl.map(|_| {
                        // Streams of one connection that come at once get the same.
                        let value = cluster::hash(format!("{peer}{local}").as_bytes());
                        let value = format!("{value:016x}");
                        hash.cookies.push(set_cookie(cookie, &value));
                        cluster::hash(value.as_bytes())
                    }),
                },
                HashSource::SourceIp => client
                    .ip()
                    .map(|client| cluster::hash(client.to_string().as_bytes())),
                HashSource::QueryParameter(name) => {
                    let path = request.get(b":path").map_or(&b""[..], |path| path);
                    parameter(path, name.as_bytes()).map(cluster::hash)
                }
            };
            if let Some(new) = new {
                // Turned, so that two that are alike do not make nothing.
                let before = hash.value.map_or(0, |before| before.rotate_left(1));
                hash.value = Some(before ^ new);
            }
            if policy.terminal && hash.value.is_some() {
                break;
            }
        }
        hash
    }
}

/// Of all values, in whatever order they come.
fn header(request: &HeaderMap, name: &str) -> Option<u64> {
    let mut values: Vec<_> = request.get_all(name.as_bytes()).collect();
    values.sort_unstable();
    let each = values.into_iter();
    each.fold(None, |seed, value| {
        Some(cluster::hash_from(seed.unwrap_or(0), value))
    })
}

/// The value of a cookie, without quotes.
pub(crate) fn find_cookie<'h>(request: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let pairs = request.get_all(b"cookie");
    let mut pairs = pairs.flat_map(|value| value.split(|b| *b == b';'));
    pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let bare = value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""));
        Some(bare.unwrap_or(value))
    })
}

fn set_cookie(cookie: &CookieHash, value: &str) -> Bytes {
    let mut text = format!("{}=\"{value}\"", cookie.name);
    let age = cookie.ttl.map_or(0, |ttl| ttl.as_secs());
    if age > 0 {
        text += &format!("; Max-Age={age}");
    }
    if !cookie.path.is_empty() {
        text += &format!("; Path={}", cookie.path);
    }
    text += "; HttpOnly";
    text.into()
}

/// The first value of a parameter in the query of a path.
fn parameter<'p>(path: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let path = path.split(|b| *b == b'#').next()?;
    let start = path.iter().position(|b| *b == b'?')?;
    let mut pairs = path[start + 1..].split(|b| *b == b'&');
    pairs.find_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=');
        let (key, value) = match at {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    fn policy(source: HashSource, terminal: bool) -> HashPolicy {
        HashPolicy { source, terminal }
    }

    fn hash(policies: &[HashPolicy], headers: &[(&str, &str)]) -> RequestHash {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let request: HeaderMap = headers.iter().map(owned).collect();
        let at = |ip: [u8; 4], port| SocketAddr::from((ip, port)).into();
        let (client, peer) = (at([10, 0, 0, 1], 0), at([127, 0, 0, 1], 1));
        HashPolicies::new(policies).hash(&request, &client, &peer, &at([127, 0, 0, 1], 2))
    }

    #[test]
    fn each_source_gives_the_hash_of_its_text() {
        let header = policy(HashSource::Header("X-User".to_owned()), false);
        let query = policy(HashSource::QueryParameter("user".to_owned()), false);
        let found = |policy: &HashPolicy, headers: &[(&str, &str)]| {
            hash(std::slice::from_ref(policy), headers).value
        };
        let anna = Some(cluster::hash(b"anna"));
        assert_eq!(found(&header, &[("x-user", "anna")]), anna);
        assert_eq!(found(&header, &[]), None);
        assert_eq!(found(&query, &[(":path", "/?a=b&user=anna&user=c")]), anna);
        assert_eq!(found(&query, &[(":path", "/user=anna")]), None);
        let ip = policy(HashSource::SourceIp, false);
        assert_eq!(found(&ip, &[]), Some(cluster::hash(b"10.0.0.1")));
        let values = [("x-user", "b"), ("x-user", "a")];
        let turned = [("x-user", "a"), ("x-user", "b")];
        assert_eq!(found(&header, &values), found(&header, &turned));
    }

    #[test]
    fn a_client_without_the_cookie_gets_one_if_it_has_a_ttl() {
        let cookie = |ttl, path: &str| {
            let cookie = CookieHash {
                name: "sid".to_owned(),
                ttl,
                path: path.to_owned(),
            };
            [policy(HashSource::Cookie(cookie), false)]
        };
        let sent = hash(&cookie(None, ""), &[("cookie", "a=b; sid=\"x\"")]);
        assert_eq!(sent.value, Some(cluster::hash(b"x")));
        assert_eq!(hash(&cookie(None, ""), &[]), RequestHash::default());
        let made = hash(&cookie(Some(Duration::from_secs(60)), "/a"), &[]);
        let text = String::from_utf8(made.cookies[0].to_vec()).unwrap();
        let value = text.split('"').nth(1).unwrap();
        assert_eq!(
            text,
            format!("sid=\"{value}\"; Max-Age=60; Path=/a; HttpOnly")
        );
        assert_eq!(made.value, Some(cluster::hash(value.as_bytes())));
        let sent = [("cookie", format!("sid={value}"))];
        let sent: Vec<_> = sent.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(hash(&cookie(None, ""), &sent).value, made.value);
        let session = hash(&cookie(Some(Duration::ZERO), ""), &[]);
        assert!(session.cookies[0].ends_with(b"\"; HttpOnly"));
    }

    #[test]
    fn a_terminal_policy_that_is_met_is_the_last() {
        let user = |terminal| policy(HashSource::Header("x-user".to_owned()), terminal);
        let ip = policy(HashSource::SourceIp, false);
        let sent = [("x-user", "anna")];
        let alone = hash(&[user(true)], &sent);
        assert_eq!(hash(&[user(true), ip.clone()], &sent), alone);
        assert_ne!(hash(&[user(false), ip.clone()], &sent), alone);
        let by_ip = hash(std::slice::from_ref(&ip), &[]);
        assert_eq!(hash(&[user(true), ip], &[]), by_ip);
        assert_ne!(hash(&[user(false), user(false)], &sent).value, Some(0));
    }
}
