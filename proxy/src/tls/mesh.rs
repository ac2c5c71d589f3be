//! Names of protocols (ALPN) that the sidecars of a service mesh have for each other.

/// What sidecars say to each other without saying what it carries.
const MESH: &[u8] = b"istio";

/// What a connection offers that is for messages of this `protocol`, or for bytes of which
/// nothing is known, where a cluster names these protocols. Among sidecars, what is `named`
/// is for bytes; what carries messages says so, or the other side would not look into them.
pub(super) fn offered(named: Option<&[Vec<u8>]>, protocol: Option<&[u8]>) -> Vec<Vec<u8>> {
    let Some(named) = named else {
        return protocol.map(<[u8]>::to_vec).into_iter().collect();
    };
    let of_mesh = named.iter().any(|name| name == MESH);
    let in_mesh: &[u8] = match protocol {
        Some(b"h2") if of_mesh => b"istio-h2",
        Some(_) if of_mesh => b"istio-http/1.1",
        _ => return named.to_vec(),
    };
    let offered = [Some(in_mesh), Some(MESH), protocol];
    offered.into_iter().flatten().map(<[u8]>::to_vec).collect()
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
