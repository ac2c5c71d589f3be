//! Unix sockets, for clients and servers that speak TCP.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::thread;

/// Has connections to the Unix socket `name`, which is made, reach `server`.
pub fn serve(name: &str, server: SocketAddr) {
    let listener = UnixListener::bind_addr(&address(name)).unwrap();
    thread::spawn(move || {
        for unix in listener.incoming().flatten() {
            if let Ok(tcp) = TcpStream::connect(server) {
                join(tcp, unix);
            }
        }
    });
}

/// An address from which connections reach the Unix socket `name`. They are closed as
/// long as nobody is there.
pub fn reach(name: &str) -> SocketAddr {
    let (listener, name) = (TcpListener::bind("127.0.0.1:0").unwrap(), address(name));
    let reached = listener.local_addr().unwrap();
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            if let Ok(unix) = UnixStream::connect_addr(&name) {
                join(tcp, unix);
            }
        }
    });
    reached
}

/// `/run/weir.sock` or, for one that is abstract, `@weir`.
fn address(name: &str) -> UnixAddr {
    match name.strip_prefix('@') {
        Some(name) => UnixAddr::from_abstract_name(name),
        None => UnixAddr::from_pathname(name),
    }
    .unwrap()
}

/// Passes everything on, both ways.
fn join(tcp: TcpStream, unix: UnixStream) {
    tcp.set_nodelay(true).unwrap();
    let (mut from_tcp, mut from_unix) = (tcp.try_clone().unwrap(), unix.try_clone().unwrap());
    let (mut to_tcp, mut to_unix) = (tcp, unix);
    // What breaks is the test's to notice.
    thread::spawn(move || {
        let _ = io::copy(&mut from_tcp, &mut to_unix);
        let _ = to_unix.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut from_unix, &mut to_tcp);
        let _ = to_tcp.shutdown(Shutdown::Write);
    });
}
