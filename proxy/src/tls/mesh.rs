//! Names of protocols (ALPN) that the sidecars of a service mesh have for each other.

use weir_config::UpstreamProtocol;

/// What sidecars say to each other without saying what it carries.
const MESH: &[u8] = b"istio";

/// What a connection for messages offers where a cluster names these protocols. Among
/// sidecars, those are for bytes of which nothing is known; what carries messages says so,
/// or the other side would not look into them.
pub(super) fn offered(named: Option<&[Vec<u8>]>, protocol: UpstreamProtocol) -> Vec<Vec<u8>> {
    let all: &[&[u8]] = match (named, protocol) {
        (Some(named), _) if !named.iter().any(|name| name == MESH) => return named.to_vec(),
        (Some(_), UpstreamProtocol::Http1) => &[b"istio-http/1.1", MESH, b"http/1.1"],
        (Some(_), UpstreamProtocol::Http2) => &[b"istio-h2", MESH, b"h2"],
        (None, UpstreamProtocol::Http1) => &[b"http/1.1"],
        (None, UpstreamProtocol::Http2) => &[b"h2"],
    };
    all.iter().map(|name| name.to_vec()).collect()
}

/// What carries messages as the protocol of this name does: `h2` or `http/1.1`, or nothing
/// of which that is known.
pub(crate) fn carried(name: &[u8]) -> Option<&[u8]> {
    match name {
        b"istio-h2" => Some(b"h2"),
        b"istio-http/1.1" | b"istio-http/1.0" => Some(b"http/1.1"),
        MESH => None,
        other => Some(other),
    }
}
