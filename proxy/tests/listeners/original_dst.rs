//! Where connections were going before the system redirected them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use socket2::{Domain, Socket, Type};
use weir_conformance::{
    Client, PATIENCE, Upstream, Weir, configure, direct, eventually, in_own_network,
};

/// Where connections go, and from where they are redirected.
const SERVERS: [&str; 2] = ["10.99.0.1", "fd99::1"];
const CLIENTS: [&str; 2] = ["10.99.0.7", "fd99::7"];

/// Gives the loopback device the addresses of servers and clients.
fn add_addresses() {
    for address in SERVERS.iter().chain(&CLIENTS) {
        let bits = if address.contains(':') { 128 } else { 32 };
        configure(&format!("ip addr add {address}/{bits} dev lo nodad"));
    }
}

/// Has the system redirect what clients send to servers.
fn redirect(port: u16) {
    add_addresses();
    for (iptables, client) in ["iptables", "ip6tables"].iter().zip(CLIENTS) {
        configure(&format!(
            "{iptables} -w -t nat -A OUTPUT -p tcp -s {client} -j REDIRECT --to-ports {port}"
        ));
    }
}

/// The same without another address in the packets.
fn redirect_transparently(port: u16) {
    add_addresses();
    for (iptables, family, client) in [
        ("iptables", "-4", CLIENTS[0]),
        ("ip6tables", "-6", CLIENTS[1]),
    ] {
        for command in [
            format!("{iptables} -w -t mangle -A OUTPUT -p tcp -s {client} -j MARK --set-mark 1"),
            format!(
                "{iptables} -w -t mangle -A PREROUTING -p tcp -s {client} \
                 -j TPROXY --on-port {port} --tproxy-mark 1"
            ),
            format!("ip {family} rule add fwmark 1 lookup 100"),
            format!("ip {family} route add local default dev lo table 100"),
        ] {
            configure(&command);
        }
    }
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// A connection of a client whose connections are redirected.
fn connect(to: SocketAddr) -> TcpStream {
    let from = address(CLIENTS[usize::from(to.is_ipv6())], 0);
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    let client = TcpStream::from(socket);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// The body of the answer to a request.
fn get(to: SocketAddr) -> String {
    let mut client = connect(to);
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer}"));
    body.to_owned()
}

/// A server that says where it is, and ends.
fn server(at: SocketAddr) {
    let listener = TcpListener::bind(at).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = connection.unwrap().write_all(at.to_string().as_bytes());
        }
    });
}

fn config(listeners: &str) -> String {
    format!(
        "workers: 2
admin: {{ address: 127.0.0.1:0 }}
listeners:
{listeners}
clusters: [{{ name: through, original_dst: {{}} }}]
"
    )
}

const LOG: &str = "access_log: { path: stdout, \
                   format: \"%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% %RESPONSE_FLAGS% end\\n\" }";

/// Servers get what was for them, and the log tells so.
fn goes_through(weir: &Weir) {
    for ip in SERVERS {
        let to = address(ip, 80);
        server(to);
        let mut all = String::new();
        connect(to).read_to_string(&mut all).unwrap();
        assert_eq!(all, to.to_string());
        weir.logged(&format!("{to} {to} - end"));
    }
}

#[test]
fn what_was_redirected_goes_where_it_was_going() {
    in_own_network(|| {
        redirect(15001);
        let weir = Weir::start(&config(&format!(
            "- {{ name: edge, address: \"[::]:15001\", original_dst: true, \
             tcp: {{ cluster: through }}, {LOG} }}"
        )));
        goes_through(&weir);
        // What was not redirected was going nowhere else.
        let mut client = TcpStream::connect("127.0.0.1:15001").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        weir.logged(":15001 - UH end");
    });
}

#[test]
fn a_transparent_listener_takes_connections_for_any_address() {
    in_own_network(|| {
        redirect_transparently(15006);
        let weir = Weir::start(&config(&format!(
            "- {{ name: edge, address: \"[::]:15006\", original_dst: true, \
             transparent: true, tcp: {{ cluster: through }}, {LOG} }}"
        )));
        goes_through(&weir);
        // What is for the listener itself does not come back to it.
        let mut client = connect(address(SERVERS[0], 15006));
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        weir.logged(":15006 - UH end");
    });
}

#[test]
fn a_connection_is_for_the_listener_whose_address_it_was_for() {
    in_own_network(|| {
        redirect(15001);
        configure("ip addr add 10.99.0.2/32 dev lo");
        let unbound = |name: &str, address: &str| {
            format!(
                "- {{ name: {name}, address: \"{address}\", bind_to_port: false, {} }}\n",
                direct(name)
            )
        };
        let entry = format!(
            "- name: edge\n  address: \"[::]:15001\"\n  use_original_dst: true\n  \
             filter_chains: [{{ name: port, match: {{ destination_port: 83 }}, {} }}]\n  \
             default_filter_chain: {{ {} }}\n",
            direct("port"),
            direct("other")
        );
        let exact = unbound("exact", "10.99.0.1:80");
        let any = unbound("any", "0.0.0.0:80") + &unbound("any6", "[::]:82");
        let weir = Weir::start(&config(&(entry.clone() + &exact + &any)));
        for (ip, port, answer) in [
            (SERVERS[0], 80, "exact"),
            ("10.99.0.2", 80, "any"),
            (SERVERS[1], 82, "any6"),
            (SERVERS[0], 83, "port"),
            (SERVERS[0], 84, "other"),
            (SERVERS[1], 83, "port"),
        ] {
            assert_eq!(get(address(ip, port)), answer, "{ip} {port}");
        }
        let taken = |address: &str| {
            let label = format!("envoy_listener_address=\"{address}\"");
            weir.metric_of("envoy_listener_downstream_cx_total", &label)
        };
        assert_eq!(taken("10.99.0.1_80"), 1);
        assert_eq!(taken("0.0.0.0_80"), 1);
        eventually("connections are those of the listener they are for", || {
            (weir.metric("envoy_listener_downstream_cx_active") == 0).then_some(())
        });
        // None of them takes connections itself.
        assert!(TcpStream::connect("127.0.0.1:80").is_err());
        // They come and go with a reload.
        weir.reload_with(&config(&(entry + &any)));
        assert_eq!(get(address(SERVERS[0], 80)), "any");
    });
}

#[test]
fn a_request_may_name_where_it_goes() {
    let (named, other) = (Upstream::echo(), Upstream::echo());
    let config = |keys: &str| {
        format!(
            "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- {{ name: edge, address: 127.0.0.1:0, routes: [{{ match: {{ prefix: / }}, cluster: named }}] }}
clusters: [{{ name: named, original_dst: {{ use_http_header: true{keys} }} }}]
"
        )
    };
    let weir = Weir::start(&config(""));
    let to = named.address.to_string();
    let mut client = weir.connect();
    let header = "x-envoy-original-dst-host";
    for _ in 0..2 {
        assert_eq!(client.get_with("/", &[(header, &to)]).status, 200);
    }
    // As to any endpoint, connections are kept.
    assert_eq!(named.connections(), 1);
    for wrong in ["nobody:80", "127.0.0.1"] {
        assert_eq!(client.get_with("/", &[(header, wrong)]).status, 503);
    }
    assert_eq!(client.get("/").status, 503);

    let port = other.address.port();
    weir.reload_with(&config(&format!(
        ", http_header_name: X-To, upstream_port_override: {port}"
    )));
    let mut client: Client = weir.connect();
    assert_eq!(client.get_with("/", &[("x-to", "127.0.0.1:1")]).status, 200);
    assert_eq!(other.connections(), 1);
}

#[test]
fn a_reload_makes_no_listener_transparent() {
    let listener = |keys: &str| {
        config(&format!(
            "- {{ name: edge, address: 127.0.0.1:0{keys}, {} }}",
            direct("same")
        ))
    };
    let weir = Weir::start(&listener(""));
    weir.configure(&listener(", transparent: true"));
    let answer = weir.reload();
    assert_ne!(answer.status, 200);
    let expected = "`transparent` of listener `edge` can only be changed by a restart";
    assert!(answer.text().contains(expected), "{}", answer.text());
    assert_eq!(weir.connect().get("/").text(), "same");
}
