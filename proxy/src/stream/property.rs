//! Properties of a stream that no header map holds.

use std::cell::RefCell;
use std::sync::Arc;

use weir_abi::{Direction, HeaderMap, Property, PropertyError};

use super::{ConnectionInfo, FilterState, FilteredStream, Protocol, StreamInfo, metadata, reply};
use crate::route::Action;
use crate::tls::{CertificateFacts, TlsFacts};

/// The property at `path`, for a filter that has the headers of a direction at hand
/// where `visible` says so.
pub(super) fn get(
    stream: &FilteredStream,
    path: &[&[u8]],
    visible: impl Fn(Direction) -> bool,
) -> Result<Property, PropertyError> {
    let value = match path {
        [b"request", name] => request(stream, name, visible(Direction::Request))?,
        [b"response", name] => response(stream, name, visible(Direction::Response)),
        [b"upstream", name] => upstream(&stream.info, name),
        [b"xds", name, rest @ ..] => return xds(&stream.info, name, rest),
        // No guest can write there.
        [b"metadata", rest @ ..] => {
            return metadata::of_metadata(&stream.info.dynamic_metadata(), rest);
        }
        [b"connection", b"termination_details"] => {
            let details = stream.info.termination_details();
            (!details.is_empty()).then(|| details.into())
        }
        [name] if *name != b"connection_id" => set_by_filter(stream, name),
        [b"filter_state", key] => of_filter_state(stream, key),
        [b"source", b"address"] => Some(stream.info.client.to_string().into()),
        [b"source", b"port"] => stream.info.client.port().map(|port| int(port.into())),
        _ => connection(&stream.info.connection, path),
    };
    value.ok_or(PropertyError::NotFound)
}

fn request(
    stream: &FilteredStream,
    name: &[u8],
    visible: bool,
) -> Result<Option<Property>, PropertyError> {
    let info = &stream.info;
    let headers_bytes = match visible {
        true => stream.headers_bytes(Direction::Request),
        false => 0,
    };
    Ok(match name {
        b"time" => Some(Property::Timestamp(info.start_time())),
        b"duration" => info.duration().map(Property::Duration),
        b"protocol" if info.protocol == Protocol::Tcp => None,
        b"protocol" => Some(info.protocol.name().into()),
        b"size" if visible => request_size(stream)?,
        b"size" => Some(int(info.bytes_received.get())),
        b"total_size" => Some(int(info.bytes_received.get() + headers_bytes)),
        b"headers_bytes" => Some(int(headers_bytes)),
        _ => None,
    })
}

fn response(stream: &FilteredStream, name: &[u8], visible: bool) -> Option<Property> {
    let info = &stream.info;
    let headers_bytes = match visible {
        true => stream.headers_bytes(Direction::Response),
        false => 0,
    };
    match name {
        b"code" => info.response_code.get().map(|c| Property::Int(c.into())),
        b"code_details" => {
            let details = info.code_details();
            (!details.is_empty()).then(|| details.into())
        }
        b"grpc_status" => grpc_status(stream).map(Property::Int),
        b"flags" => Some(int(info.flags().bits())),
        b"size" => Some(int(info.bytes_sent.get())),
        b"total_size" => Some(int(info.bytes_sent.get() + headers_bytes)),
        b"headers_bytes" => Some(int(headers_bytes)),
        b"backend_latency" => info.upstream_latency.get().map(Property::Duration),
        _ => None,
    }
}

fn connection(connection: &ConnectionInfo, path: &[&[u8]]) -> Option<Property> {
    match path {
        [b"destination", b"address"] => Some(connection.local.to_string().into()),
        [b"destination", b"port"] => connection.local.port().map(|port| int(port.into())),
        [b"connection_id"] | [b"connection", b"id"] => Some(Property::Uint(connection.id)),
        [b"connection", b"mtls"] => {
            let shown = connection.tls.as_ref().and_then(|tls| tls.peer.as_ref());
            Some(Property::Bool(shown.is_some()))
        }
        [b"connection", b"requested_server_name"] => {
            Some(connection.requested_server_name().to_owned().into())
        }
        [b"connection", name] => tls_attribute(connection.tls.as_deref()?, name),
        _ => None,
    }
}

/// What connections to clients and endpoints say alike of TLS.
fn tls_attribute(tls: &TlsFacts, name: &[u8]) -> Option<Property> {
    let subject = |certificate: &Option<Arc<CertificateFacts>>| {
        let subject = certificate.as_ref().map(|facts| facts.subject.clone());
        Some(subject.unwrap_or_default().into())
    };
    let first = |certificate: &Option<Arc<CertificateFacts>>, names: Names| {
        Some(names(certificate.as_ref()?).first()?.clone().into())
    };
    let (uri, dns): (Names, Names) = (|facts| &facts.uri_sans, |facts| &facts.dns_sans);
    match name {
        b"tls_version" => Some(tls.version.into()),
        b"subject_local_certificate" => subject(&tls.local),
        b"subject_peer_certificate" => subject(&tls.peer),
        b"uri_san_local_certificate" => first(&tls.local, uri),
        b"uri_san_peer_certificate" => first(&tls.peer, uri),
        b"dns_san_local_certificate" => first(&tls.local, dns),
        b"dns_san_peer_certificate" => first(&tls.peer, dns),
        b"sha256_peer_certificate_digest" => Some(tls.peer.as_ref()?.sha256.clone().into()),
        _ => None,
    }
}

/// Names of one kind in a certificate.
type Names = fn(&CertificateFacts) -> &Vec<String>;

/// Known once an endpoint was chosen.
fn upstream(info: &StreamInfo, name: &[u8]) -> Option<Property> {
    let address = info.upstream.borrow();
    let address = address.as_ref();
    match name {
        b"address" => Some(address?.to_string().into()),
        b"port" => Some(int(address?.port()?.into())),
        // A message without content: no locality is configured.
        b"locality" => address.map(|_| "".into()),
        b"local_address" => Some(info.upstream_local.borrow().as_ref()?.to_string().into()),
        b"num_endpoints" => info
            .cluster_endpoints
            .get()
            .map(|n| Property::Uint(n as u64)),
        b"cx_pool_ready_duration" => info.upstream_pool_ready().map(Property::Duration),
        b"request_attempt_count" => Some(int(info.upstream_attempts.get())),
        b"transport_failure_reason" => {
            address.map(|_| info.upstream_failure.borrow().clone().into())
        }
        name => tls_attribute(info.upstream_tls.borrow().as_deref()?, name),
    }
}

fn xds(info: &StreamInfo, name: &[u8], rest: &[&[u8]]) -> Result<Property, PropertyError> {
    let route = info.route.borrow();
    let route = || route.as_deref().ok_or(PropertyError::NotFound);
    match (name, rest) {
        (b"node", rest) => metadata::of_node(&info.facts.node, rest),
        (b"listener_metadata", rest) => metadata::of_metadata(&info.facts.listener, rest),
        (b"filter_chain_name", []) => Ok(info.facts.filter_chain.clone().into()),
        (b"upstream_host_metadata", rest) if info.upstream_metadata.borrow().is_some() => {
            let metadata = info.upstream_metadata.borrow();
            let metadata = metadata.as_deref().ok_or(PropertyError::NotFound)?;
            metadata::of_metadata(metadata, rest)
        }
        // They are messages that nobody has set, once there is an endpoint.
        (b"upstream_host_metadata" | b"upstream_host_locality_metadata", [])
            if info.upstream.borrow().is_some() =>
        {
            Err(PropertyError::NotSerializable)
        }
        (b"listener_direction", []) => Ok(Property::Int(info.facts.direction as i64)),
        (b"route_name", []) => Ok(route()?.name.clone().into()),
        (b"route_metadata", rest) => metadata::of_metadata(&route()?.metadata, rest),
        (b"virtual_host_name", []) => Ok(route()?.virtual_host.clone().into()),
        (b"virtual_host_metadata", rest) => {
            metadata::of_metadata(&route()?.virtual_host_metadata, rest)
        }
        (b"cluster_name", []) => {
            let cluster = info.cluster.borrow().clone();
            let cluster = cluster.map(|cluster| cluster.to_string().into());
            cluster.ok_or(PropertyError::NotFound)
        }
        (b"cluster_metadata", rest) => match &route()?.action {
            Action::Forward(forward) => {
                let chosen = info.chosen.get().ok_or(PropertyError::NotFound)?;
                let metadata = forward.cluster_metadata.get(chosen.cluster);
                metadata::of_metadata(metadata.ok_or(PropertyError::NotFound)?, rest)
            }
            Action::Redirect(_) | Action::DirectResponse(_) => Err(PropertyError::NotFound),
        },
        _ => Err(PropertyError::NotFound),
    }
}

fn int(n: u64) -> Property {
    Property::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

/// gRPC status of the response: what its trailers or headers say, or else what
/// its HTTP status stands for.
pub(crate) fn grpc_status(stream: &FilteredStream) -> Option<i64> {
    let told = |map: &RefCell<Option<HeaderMap>>| {
        let map = map.borrow();
        let status = map.as_ref()?.get(b"grpc-status")?;
        std::str::from_utf8(status).ok()?.parse().ok()
    };
    let told = told(&stream.response_trailers).or_else(|| told(&stream.response_headers));
    told.or_else(|| Some(reply::grpc_status(stream.info.response_code.get()?).into()))
}

fn set_by_filter(stream: &FilteredStream, name: &[u8]) -> Option<Property> {
    let key = [FilterState::OWN, name].concat();
    stream.filter_state(&key).map(Into::into)
}

/// An object of filter state; one of them has no form as bytes in Envoy.
fn of_filter_state(stream: &FilteredStream, key: &[u8]) -> Option<Property> {
    if key == b"envoy.network.application_protocols" {
        return None;
    }
    stream.filter_state(key).map(Into::into)
}

/// Content-Length where the request has one, else the bytes received so far.
fn request_size(stream: &FilteredStream) -> Result<Option<Property>, PropertyError> {
    let headers = stream.request_headers.borrow();
    let Some(length) = headers.get(b"content-length") else {
        return Ok(Some(int(stream.info.bytes_received.get())));
    };
    std::str::from_utf8(length)
        .ok()
        .and_then(|l| l.parse::<u64>().ok())
        .map(|n| Some(int(n)))
        .ok_or(PropertyError::NotFound)
}
