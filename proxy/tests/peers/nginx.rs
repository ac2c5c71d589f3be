//! nginx, as an endpoint and in front.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use tempfile::TempDir;
use weir_conformance::tls::Authority;
use weir_conformance::{Client, DnsAnswer, DnsServer, Upstream, Weir, eventually, program};

use super::{config, pattern};

/// A running nginx; killed when dropped.
struct Nginx {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// Starts one with the blocks of `config`, in which `ADDRESS` stands for where it
    /// listens. `files` go to its folder first.
    fn start(config: &str, files: impl Fn(&std::path::Path)) -> Self {
        loop {
            // It does not tell where port 0 is. Should the port be taken before it is
            // there, another will do.
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let folder = TempDir::new().unwrap();
            files(folder.path());
            let config = format!(
                "{}daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
                 events {{}}\n{config}",
                stream_module()
            );
            let config = config.replace("ADDRESS", &address.to_string());
            std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
            let log = std::fs::File::create(folder.path().join("log")).unwrap();
            let child = program("nginx")
                .arg("-p")
                .arg(folder.path())
                .args(["-c", "nginx.conf", "-e", "stderr"])
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut nginx = Self {
                child,
                folder,
                address,
            };
            if nginx.is_ready() {
                return nginx;
            }
            let log = nginx.log();
            assert!(log.contains("Address already in use"), "{log}");
        }
    }

    /// Waits until it listens; gives whether it does.
    fn is_ready(&mut self) -> bool {
        let pid = self.folder.path().join("nginx.pid");
        eventually("nginx is ready", || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // It writes this once it has bound its address.
            let is_bound = pid.exists() && TcpStream::connect(self.address).is_ok();
            is_bound.then_some(true)
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- nginx's log\n{}", self.log());
        }
    }
}

/// What loads the module for streams, if it is one.
fn stream_module() -> String {
    let output = program("nginx").arg("-V").output().unwrap();
    let built = String::from_utf8(output.stderr).unwrap();
    if !built.contains("--with-stream=dynamic") {
        return String::new();
    }
    let mut words = built.split_whitespace();
    let folder = words.find_map(|word| word.strip_prefix("--modules-path="));
    format!("load_module {}/ngx_stream_module.so;\n", folder.unwrap())
}

/// A web server that takes files and gives them, and tells which request of which
/// connection it is.
const WEB: &str = "http {
    access_log off;
    client_body_temp_path bodies;
    client_max_body_size 0;
    proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {
        listen LISTEN;
        root files;
        dav_methods PUT;
        create_full_put_path on;
        keepalive_requests 1000;
        add_header x-place $connection/$connection_requests;
        location /chunked { ssi on; ssi_types *; }
    }
}";

fn web(listen: &str, files: impl Fn(&std::path::Path)) -> Nginx {
    Nginx::start(&WEB.replace("LISTEN", listen), |folder| {
        std::fs::create_dir(folder.join("files")).unwrap();
        files(folder);
    })
}

/// Files go there and come back, over one connection, by length and in chunks.
fn exchanges(weir: &Weir, nginx: &Nginx) {
    let large = pattern(32 << 20);
    let mut client = weir.connect();
    let put = client.request("PUT", "/large", &[], &large);
    assert_eq!(put.status, 201);
    let stored = std::fs::read(nginx.folder.path().join("files/large")).unwrap();
    assert!(stored == large, "{} bytes", stored.len());
    client.send("PUT /chunked/small HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send("4\r\nin c\r\n5\r\nhunks\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 201);

    let got = client.get("/large");
    assert_eq!(got.status, 200);
    assert!(got.body == large, "{} bytes", got.body.len());
    let got = client.get("/chunked/small");
    assert_eq!((got.status, got.text().as_str()), (200, "in chunks"));
    assert_eq!(got.header("content-length"), None);
    let part = client.get_with("/large", &[("range", "bytes=250-252")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &[250, 0, 1][..]));
    assert_eq!(client.request("HEAD", "/large", &[], b"").status, 200);
    assert_eq!(client.get("/none").status, 404);

    let places: Vec<String> = (0..10)
        .map(|_| {
            client
                .get("/chunked/small")
                .header("x-place")
                .unwrap()
                .to_owned()
        })
        .collect();
    let (connection, first) = places[0].split_once('/').unwrap();
    let first: usize = first.parse().unwrap();
    let expected: Vec<String> = (first..first + 10)
        .map(|n| format!("{connection}/{n}"))
        .collect();
    assert_eq!(places, expected);
}

#[test]
fn nginx_serves_over_connections_that_are_kept() {
    let nginx = web("ADDRESS", |_| {});
    let weir = Weir::start(&config("", &nginx.address.to_string(), ""));
    exchanges(&weir, &nginx);
}

#[test]
fn nginx_serves_encrypted_by_its_name() {
    let (authority, dns) = (Authority::new("ca"), DnsServer::start());
    dns.set("nginx.test", DnsAnswer::addresses(600, &["127.0.0.1"]));
    let listen = "ADDRESS ssl http2; ssl_certificate nginx.pem; ssl_certificate_key nginx.key";
    let nginx = web(listen, |folder| {
        authority.issue(&["nginx.test"]).write(folder, "nginx");
    });
    for protocol in ["http1", "http2"] {
        let keys = format!(
            ", type: strict_dns, dns_resolver: {{ resolvers: ['{}'] }}, protocol: {protocol}, \
             tls: {{ ca: ca.pem }}",
            dns.address
        );
        let endpoint = format!("nginx.test:{}", nginx.address.port());
        let weir = Weir::start_with(&config("", &endpoint, &keys), |folder| {
            std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        });
        exchanges(&weir, &nginx);
        std::fs::remove_dir_all(nginx.folder.path().join("files")).unwrap();
    }
}

#[test]
fn nginx_says_in_the_proxy_protocol_who_the_client_is() {
    let upstream = Upstream::echo();
    let listener = "  proxy_protocol: {}\n  http: { use_remote_address: true }\n";
    let weir = Weir::start(
        &config(listener, &upstream.address.to_string(), "").replace(
            "path: stdout",
            "path: stdout, format: \"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%\\n\"",
        ),
    );
    let nginx = Nginx::start(
        &format!(
            "stream {{ server {{ listen ADDRESS; proxy_pass {}; proxy_protocol on; }} }}",
            weir.listener("edge")
        ),
        |_| {},
    );
    for _ in 0..2 {
        let mut client = Client::connect(nginx.address);
        let from = client.tcp().local_addr().unwrap();
        for _ in 0..2 {
            let text = client.get("/").text();
            assert!(text.contains("\nx-forwarded-for: 127.0.0.1\n"), "{text}");
            weir.logged(&format!("{from} {}", nginx.address));
        }
    }
}
