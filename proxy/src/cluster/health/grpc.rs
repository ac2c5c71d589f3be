//! Health checks by gRPC's own service, `grpc.health.v1.Health`.

use bytes::{BufMut, Bytes, BytesMut};
use weir_abi::HeaderMap;
use weir_config::{GrpcHealthCheck, UpstreamProtocol};

use super::Verdict;
use super::exchange::Answer;
use super::http::{HttpProbe, Target, USER_AGENT};
use crate::stream::protobuf::Message;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u8 = 1;

/// Asks an endpoint by gRPC.
pub(super) async fn check(
    grpc: &GrpcHealthCheck,
    target: Target<'_>,
    probe: &mut HttpProbe,
) -> Verdict {
    let authority = if grpc.authority.is_empty() {
        &target.cluster.name
    } else {
        &grpc.authority
    };
    let mut headers: HeaderMap = [
        (":method", "POST"),
        (":scheme", target.scheme()),
        (":path", "/grpc.health.v1.Health/Check"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", USER_AGENT),
    ]
    .into_iter()
    .collect();
    headers.add(":authority", authority.clone());
    let body = Some(request(&grpc.service_name));
    let protocol = UpstreamProtocol::Http2;
    let answered = probe.exchange(protocol, target, &headers, body);
    match answered.await {
        Ok(answer) => verdict(&answer),
        Err(error) => Verdict::Network(error.to_string()),
    }
}

/// The request in its frame.
fn request(service: &str) -> Bytes {
    let mut message = Message::default();
    message.text(1, service);
    let message = message.into_bytes();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message);
    frame.freeze()
}

fn verdict(answer: &Answer) -> Verdict {
    let status = answer.headers.get(b":status").map_or(&b""[..], |s| s);
    if status != b"200" {
        let status = String::from_utf8_lossy(status);
        return Verdict::Unhealthy(format!("the status is {status}"));
    }
    let trailers = answer.trailers.get(b"grpc-status");
    // Without a message, they stand in the headers.
    let status = trailers.or_else(|| answer.headers.get(b"grpc-status"));
    match status.map(|status| &status[..]) {
        Some(b"0") => {}
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Verdict::Unhealthy(format!("the gRPC status is {other}"));
        }
        None => return Verdict::Unhealthy("there is no gRPC status".to_owned()),
    }
    // Its one field, `status`, is a varint, and SERVING is one byte of it.
    match answer.body.get(5..) {
        Some([8, SERVING]) => Verdict::Healthy,
        Some(message) => Verdict::Unhealthy(format!("it is not serving: {message:?}")),
        None => Verdict::Unhealthy("there is no message".to_owned()),
    }
}
