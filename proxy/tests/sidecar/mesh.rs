//! Two services on machines of their own, each with a sidecar, and a machine without.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use weir_conformance::{Host, Lan, PATIENCE, Weir, command};

/// A bootstrap in the shape of what Istio's control plane sends, but for endpoints that
/// it names.
const BOOTSTRAP: &str = include_str!("mesh.yaml");

/// The service that `b` is, by addresses that no machine has.
pub(super) const SERVICE: [&str; 2] = ["10.96.0.10", "fd96::10"];

/// Ports of services.
pub(super) const HTTP: u16 = 8080;
pub(super) const GRPC: u16 = 9090;
/// Where the client speaks first.
pub(super) const ECHO: u16 = 9000;
/// Where the server does.
pub(super) const BANNER: u16 = 3306;

pub(super) struct Mesh {
    pub(super) a: Pod,
    pub(super) b: Pod,
    /// Without a sidecar.
    pub(super) outside: Host,
    _lan: Lan,
}

/// A machine with a sidecar.
pub(super) struct Pod {
    pub(super) host: Host,
    pub(super) weir: Weir,
}

/// What the bootstrap would say of listeners and clusters, of a service that is on this
/// machine.
pub(super) fn resources(service: &Host) -> serde_json::Value {
    let text = bootstrap(service);
    let mut whole: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    whole["static_resources"].take()
}

fn bootstrap(service: &Host) -> String {
    BOOTSTRAP
        .replace("SERVICE4", SERVICE[0])
        .replace("SERVICE6", SERVICE[1])
        .replace("ENDPOINT4", &service.ipv4.to_string())
        .replace("ENDPOINT6", &service.ipv6.to_string())
}

impl Mesh {
    /// Rules of `a` and `b` are made with these options.
    pub(super) fn start(options: &str) -> Self {
        Self::start_with(options, |bootstrap| bootstrap, &[])
    }

    /// The same, with another bootstrap in place of the usual one, and with capabilities
    /// of its sidecars.
    pub(super) fn start_with(
        options: &str,
        change: impl Fn(String) -> String + Sync,
        capabilities: &[&str],
    ) -> Self {
        let lan = Lan::new();
        let [a, b, outside] = std::array::from_fn(|_| lan.host());
        let bootstrap = change(bootstrap(&b));
        let pod = |host: Host| {
            let weir = host.run(|| {
                iptables(&format!("--apply {options}"));
                Weir::start_as_envoy(&bootstrap, capabilities, |_| {})
            });
            Pod { host, weir }
        };
        Self {
            a: pod(a),
            b: pod(b),
            outside,
            _lan: lan,
        }
    }
}

impl Pod {
    /// Waits until a line of the sidecar's access log has `text`.
    pub(super) fn logged(&self, text: &str) -> String {
        self.weir.logged(text)
    }

    /// How many connections were sent to the sidecar at `port`.
    pub(super) fn captured(&self, port: u16) -> u64 {
        let label = format!("envoy_listener_address=\"[__]_{port}\"");
        self.metric("envoy_listener_downstream_cx_total", &label)
    }

    pub(super) fn metric(&self, name: &str, label: &str) -> u64 {
        self.host.run(|| self.weir.metric_of(name, label))
    }
}

/// Runs `weir sidecar iptables` with these arguments; gives what it prints. The folders
/// of daemons need not be on the path.
pub(super) fn iptables(arguments: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command()
        .args(["sidecar", "iptables"])
        .args(arguments.split_whitespace())
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The address of the service, or of a machine, of both families.
pub(super) fn both(port: u16) -> [SocketAddr; 2] {
    SERVICE.map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
}

pub(super) fn connect(to: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// A server at this port of all addresses, which tells where its client is, and then
/// says everything back.
pub(super) fn echo_server(port: u16, begins: bool) {
    let listener = TcpListener::bind(("::", port)).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            thread::spawn(move || {
                let peer = connection.peer_addr().unwrap().ip().to_canonical();
                let mut bytes = [0; 1024];
                let mut said = if begins {
                    0
                } else {
                    connection.read(&mut bytes)?
                };
                write!(connection, "[{peer}]")?;
                while said > 0 || begins {
                    connection.write_all(&bytes[..said])?;
                    said = connection.read(&mut bytes)?;
                    if said == 0 {
                        break;
                    }
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
}

/// What a client says: it cannot be the beginning of HTTP, nor of TLS, so that nobody
/// waits for more of it.
pub(super) const HELLO: &[u8] = b"\x05hello";

/// What such a server says to a client that says [`HELLO`], without that.
pub(super) fn greet(to: SocketAddr, begins: bool) -> String {
    let mut client = connect(to);
    let mut said = String::new();
    if begins {
        let mut byte = [0];
        while byte != *b"]" {
            client.read_exact(&mut byte).unwrap();
            said.push(byte[0].into());
        }
    }
    client.write_all(HELLO).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    client.read_to_string(&mut said).unwrap();
    let hello = std::str::from_utf8(HELLO).unwrap();
    said.strip_suffix(hello)
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned()
}

/// Which address of a machine has the family of `to`.
pub(super) fn at(host: &Host, like: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(host.ip_like(like.ip()), port)
}

/// From where a sidecar connects to its application.
pub(super) fn passthrough(like: IpAddr) -> &'static str {
    if like.is_ipv4() { "127.0.0.6" } else { "::6" }
}
