//! What happens to a request's headers before anything else sees them: what
//! Envoy's connection manager does (`conn_manager_utility.cc`), as far as the
//! listener's `http` options ask for it.

mod client_cert;
mod forwarded;
mod path;
mod request_id;

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::HttpOptions;

pub(crate) use self::forwarded::client;
use crate::stream::ConnectionInfo;

/// Why a request goes no further.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    /// 400.
    #[error("missing_host_header")]
    Host,
    /// 404: the target is no path, as in `OPTIONS *`.
    #[error("absolute_path_rejected")]
    NoPath,
    /// 400.
    #[error("path_with_fragment_rejected")]
    Fragment,
    /// 400.
    #[error("path_normalization_failed")]
    Path,
    /// 307: the path is another one.
    #[error("path_normalization_failed")]
    Redirect {
        /// The path to go to.
        location: Bytes,
    },
}

impl Rejected {
    /// Status of the answer, whose body is empty.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Host | Self::Fragment | Self::Path => 400,
            Self::NoPath => 404,
            Self::Redirect { .. } => 307,
        }
    }

    /// Where the client is sent to.
    pub(crate) fn location(&self) -> Option<Bytes> {
        match self {
            Self::Host | Self::NoPath | Self::Fragment | Self::Path => None,
            Self::Redirect { location } => Some(location.clone()),
        }
    }
}

/// What the names of headers that are for Envoy begin with.
pub(crate) const ENVOYS: &[u8] = b"x-envoy-";

/// Headers that control Envoy, and are not for those outside to set.
const CONTROL: [&str; 16] = [
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
];

/// Headers that proxies in front may set, and clients may not.
const HOP: [&str; 5] = [
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-path",
    "x-envoy-original-host",
];

/// Prepares the headers of a request that came on `connection`.
///
/// # Errors
/// When the request is to be answered instead.
pub(crate) fn prepare(
    headers: &mut HeaderMap,
    options: &HttpOptions,
    connection: &ConnectionInfo,
) -> Result<(), Rejected> {
    if !headers.contains(b":authority") {
        return Err(Rejected::Host);
    }
    path::prepare(headers, options)?;
    if headers.iter().any(|(name, _)| name.starts_with(ENVOYS)) {
        remove_envoys(headers, options);
    }
    forwarded::prepare(headers, options, connection);
    client_cert::prepare(headers, options, connection);
    if !headers.contains(b":scheme") {
        let forwarded = headers.get(b"x-forwarded-proto");
        let secure = forwarded.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"));
        headers.add(":scheme", if secure { "https" } else { "http" });
    }
    if let Some(via) = &options.via {
        append(headers, "via", via, ", ");
    }
    if options.generate_request_id {
        // Where none is made, the client's own stays, trusted or not.
        let trusted = !options.use_remote_address || options.preserve_external_request_id;
        if !trusted || !headers.contains(b"x-request-id") {
            headers.overwrite("x-request-id", request_id::generate());
        }
    }
    Ok(())
}

fn remove_envoys(headers: &mut HeaderMap, options: &HttpOptions) {
    if options.strip_envoy_headers || options.use_remote_address {
        for name in CONTROL {
            headers.remove(name.as_bytes());
        }
    }
    if options.use_remote_address {
        for name in HOP {
            headers.remove(name.as_bytes());
        }
    }
}

/// Adds `value` to the first value of a header.
pub(crate) fn append(headers: &mut HeaderMap, name: &'static str, value: &str, separator: &str) {
    let old = headers.get(name.as_bytes()).filter(|old| !old.is_empty());
    match old {
        Some(old) => {
            let all = [old, separator.as_bytes(), value.as_bytes()].concat();
            headers.overwrite(name, all);
        }
        None => headers.replace(name, value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// The headers of a request from 198.51.100.7 to port 8080 behind
    /// [`prepare`], without its pseudo-headers.
    fn prepared(options: &HttpOptions, headers: &[(&'static str, &'static str)]) -> Vec<String> {
        let connection = ConnectionInfo {
            id: 1,
            peer: SocketAddr::from(([198, 51, 100, 7], 50_000)).into(),
            direct: SocketAddr::from(([198, 51, 100, 7], 50_000)).into(),
            local: SocketAddr::from(([192, 0, 2, 1], 8080)).into(),
            is_restored: false,
            original_src: None,
            filter_state: std::rc::Rc::default(),
            tls: None,
            inspected: None,
        };
        let mut map: HeaderMap = headers.iter().copied().collect();
        map.add(":path", "/");
        map.add(":method", "GET");
        map.add(":authority", "h");
        prepare(&mut map, options, &connection).unwrap_or_else(|e| panic!("{e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lines = map.iter().filter(|(name, _)| !name.starts_with(b":"));
        let mut lines: Vec<_> = lines.map(|(n, v)| text(n) + ": " + &text(v)).collect();
        lines.sort();
        lines
    }

    #[test]
    fn by_default_a_request_stays_as_it_is() {
        let headers = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-envoy-retry-on", "5xx"),
        ];
        assert_eq!(prepared(&HttpOptions::default(), &headers).len(), 3);
    }

    #[test]
    fn at_the_edge_the_connection_tells_who_the_client_is() {
        let options = HttpOptions {
            use_remote_address: true,
            append_x_forwarded_port: true,
            via: Some("edge".to_owned()),
            ..HttpOptions::default()
        };
        let headers = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-envoy-internal", "true"),
            ("x-envoy-original-path", "/x"),
            ("x-envoy-external-address", "7.7.7.7"),
            ("via", "a"),
        ];
        assert_eq!(
            prepared(&options, &headers),
            [
                "via: a, edge",
                "x-envoy-external-address: 198.51.100.7",
                "x-forwarded-for: 1.2.3.4,198.51.100.7",
                "x-forwarded-port: 8080",
                "x-forwarded-proto: http",
            ]
        );
    }

    #[test]
    fn behind_trusted_hops_they_tell_who_the_client_is() {
        let options = HttpOptions {
            use_remote_address: true,
            xff_num_trusted_hops: 1,
            skip_xff_append: true,
            ..HttpOptions::default()
        };
        let headers = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "1.2.3.4, 10.0.0.7"),
        ];
        assert_eq!(
            prepared(&options, &headers),
            [
                "x-envoy-external-address: 10.0.0.7",
                "x-forwarded-for: 1.2.3.4, 10.0.0.7",
                "x-forwarded-proto: https",
            ]
        );
        let busted = prepared(&options, &[("x-forwarded-for", "?")]);
        assert!(busted.contains(&"x-envoy-external-address: 198.51.100.7".to_owned()));
    }

    #[test]
    fn a_request_gets_an_id_where_it_has_none_that_counts() {
        let mut options = HttpOptions {
            generate_request_id: true,
            ..HttpOptions::default()
        };
        let given = ("x-request-id", "mine");
        let id = |options: &HttpOptions, headers: &[(&'static str, &'static str)]| {
            let lines = prepared(options, headers);
            let found = lines.iter().find_map(|l| l.strip_prefix("x-request-id: "));
            found.unwrap_or_default().to_owned()
        };
        assert_eq!(id(&options, &[]).len(), 36);
        assert_ne!(id(&options, &[]), id(&options, &[]));
        assert_eq!(id(&options, &[given]), "mine");
        options.use_remote_address = true;
        assert_ne!(id(&options, &[given]), "mine");
        options.preserve_external_request_id = true;
        assert_eq!(id(&options, &[given]), "mine");
    }

    #[test]
    fn headers_that_control_envoy_are_not_for_clients() {
        let options = HttpOptions {
            strip_envoy_headers: true,
            ..HttpOptions::default()
        };
        let headers = [
            ("x-envoy-retry-on", "5xx"),
            ("x-envoy-internal", "true"),
            ("x-envoy-decorator-operation", "x"),
            ("x-envoy-attempt-count", "1"),
            ("x-forwarded-proto", "http"),
        ];
        assert_eq!(
            prepared(&options, &headers),
            [
                "x-envoy-attempt-count: 1",
                "x-envoy-decorator-operation: x",
                "x-forwarded-proto: http"
            ]
        );
    }
}
