//! How endpoints are spoken to where nothing says so but the client's connection; no
//! network of a test's own is needed for that.

use std::io::{Read, Write};
use std::net::SocketAddr;

use weir_conformance::h2 as wire;
use weir_conformance::{Peer, Weir, direct, own_ip};

use super::mesh::connect;

/// A listener in front of another one, which logs how it is spoken to.
fn in_front(cluster: &str) -> Weir {
    let back = SocketAddr::from((own_ip(), 8080));
    let format = "%PROTOCOL% from %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% end\\n";
    Weir::start(&format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- {{ name: edge, address: 127.0.0.1:0, routes: [{{ match: {{ prefix: / }}, cluster: back }}] }}
- {{ name: back, address: \"{back}\", access_log: {{ path: stdout, format: \"{format}\" }}, {} }}
clusters: [{{ name: back, endpoints: [\"{back}\"], {cluster} }}]
",
        direct("here")
    ))
}

#[test]
fn endpoints_are_spoken_to_as_the_client_speaks() {
    let weir = in_front("protocol: downstream");
    assert_eq!(weir.connect().get("/").text(), "here");
    weir.logged("HTTP/1.1 from ");
    wire::run(async {
        let mut client = wire::connect(weir.listener("edge")).await;
        let answer = wire::get(&mut client, "/", &[]).await.unwrap();
        assert_eq!(answer.text(), "here");
    });
    weir.logged("HTTP/2 from ");
}

#[test]
fn connections_are_made_from_the_address_that_is_named() {
    let own = own_ip();
    let weir = in_front(&format!("bind: {{ addresses: [{own}] }}"));
    assert_eq!(weir.connect().get("/").text(), "here");
    weir.logged(&format!("HTTP/1.1 from {own} end"));
    // One that is nobody's.
    let nobodys = in_front("bind: { addresses: [192.0.2.77] }");
    let answer = nobodys.connect().get("/");
    assert_eq!(answer.status, 503);
    assert!(
        answer.text().contains("connection failure"),
        "{}",
        answer.text()
    );
}

#[test]
fn a_client_is_not_waited_for_where_the_server_speaks_first() {
    let banner = Peer::start(|mut client| {
        let _ = client.write_all(b"220 ready\r\n");
        let _ = client.read(&mut [0]);
    });
    let ports = "[\"1-65535\"]";
    let weir = Weir::start(&format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- {{ name: edge, address: 127.0.0.1:0, tcp: {{ cluster: banner }}, inspect: {{ tls: true, http: true,
    timeout: 0s, tls_except_ports: {ports}, http_except_ports: {ports} }} }}
clusters: [{{ name: banner, endpoints: [\"{}\"] }}]
",
        banner.address
    ));
    let mut client = connect(weir.listener("edge"));
    let mut said = [0; 11];
    client.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"220 ready\r\n");
}
