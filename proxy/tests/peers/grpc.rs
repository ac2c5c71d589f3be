//! tonic, as an endpoint.

use bytes::Bytes;
use h2::client::SendRequest;
use tonic::Status;
use weir_conformance::Weir;
use weir_conformance::h2::{self as wire, H2Response};

use super::tonic_server::GrpcServer;
use super::{config, pattern};

/// Calls a method with these messages.
async fn call(client: &SendRequest<Bytes>, path: &str, messages: &[&[u8]]) -> H2Response {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut ready = client.clone().ready().await.unwrap();
    let request = wire::request("POST", path, &headers);
    let (response, mut stream) = ready.send_request(request, false).unwrap();
    for message in messages {
        // One that has been answered with a failure takes no more.
        let _ = wire::send_all(&mut stream, framed(message).into(), false).await;
    }
    let _ = stream.send_data(Bytes::new(), true);
    wire::read(response).await.unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// The status of a call and its text: of the trailers, or of the head alone.
fn status(response: &H2Response) -> (&str, &str) {
    let fields = response.trailers.as_ref().unwrap_or(&response.headers);
    let text = |name| fields.get(name).map_or("", |value| value.to_str().unwrap());
    (text("grpc-status"), text("grpc-message"))
}

#[test]
fn tonic_answers_calls_and_streams() {
    let tonic = GrpcServer::start(
        "127.0.0.1:0",
        "/shop/Stream",
        |message| match &message[..] {
            b"none" => Err(Status::not_found("nothing of the kind")),
            message => Ok(message.to_vec()),
        },
    );
    let endpoint = tonic.upstream.address.to_string();
    let weir = Weir::start(&config("", &endpoint, ", protocol: http2"));
    let large = pattern(1 << 20);
    wire::run(async {
        let client = wire::connect(weir.listener("edge")).await;
        for message in [&b"tea"[..], &large] {
            let answer = call(&client, "/shop/Order", &[message]).await;
            assert!(
                answer.body == framed(message),
                "{} bytes",
                answer.body.len()
            );
            assert_eq!(status(&answer), ("0", ""));
        }
        let none = call(&client, "/shop/Order", &[b"none"]).await;
        assert_eq!(status(&none), ("5", "nothing%20of%20the%20kind"));
        let stream = call(&client, "/shop/Stream", &[b"1", b"2", b"3"]).await;
        assert_eq!(status(&stream), ("0", ""));
        assert_eq!(stream.body, framed(b""));
        let ended = call(&client, "/shop/Stream", &[b"1", b"end"]).await;
        assert_eq!(status(&ended), ("14", "as%20the%20test%20asked"));
    });
    assert_eq!(
        (tonic.count("/shop/Order"), tonic.count("/shop/Stream")),
        (3, 5)
    );
    assert_eq!(tonic.upstream.connections(), 1);
    assert_eq!(weir.metric("envoy_cluster_upstream_rq_total"), 5);
}
