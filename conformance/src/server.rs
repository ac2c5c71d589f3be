//! An endpoint that can be killed, stalled and taken off the net, and brought back at
//! the same address.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{eventually, own_ip};

/// What an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its port is closed.
    Killed,
    /// It takes connections and answers nothing.
    Stalled,
    /// Connections to it are never made.
    BlackHoled,
}

/// An endpoint; it has an IP address to itself, so that nobody takes its port while it
/// is away.
pub struct Server {
    pub address: SocketAddr,
    state: Arc<State>,
    /// What connections come to, unless it is killed.
    socket: Option<Socket>,
    /// Connections that fill its queue.
    filling: Vec<Socket>,
}

/// Connections that may wait to be accepted.
const QUEUE: i32 = 128;

#[derive(Default)]
struct State {
    name: String,
    /// Of its answers, and of those to `/healthz`.
    status: AtomicU16,
    health: AtomicU16,
    requests: AtomicUsize,
    checks: AtomicUsize,
    stalled: AtomicBool,
    /// Whether connections are taken.
    accepts: AtomicBool,
    killed: AtomicBool,
    listening: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Server {
    /// One that answers with 200 and its name.
    pub fn start(name: &str) -> Self {
        let state = Arc::new(State {
            name: name.to_owned(),
            status: AtomicU16::new(200),
            health: AtomicU16::new(200),
            accepts: AtomicBool::new(true),
            ..State::default()
        });
        let mut server = Self {
            address: SocketAddr::from((own_ip(), 0)),
            state,
            socket: None,
            filling: Vec::new(),
        };
        server.listen();
        server
    }

    fn listen(&mut self) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&self.address.into()).unwrap();
        socket.listen(QUEUE).unwrap();
        let listener = TcpListener::from(socket.try_clone().unwrap());
        self.socket = Some(socket);
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let state = Arc::clone(&self.state);
        state.killed.store(false, Ordering::SeqCst);
        state.listening.store(true, Ordering::SeqCst);
        thread::spawn(move || {
            while !state.killed.load(Ordering::SeqCst) {
                let accepted = state
                    .accepts
                    .load(Ordering::SeqCst)
                    .then(|| listener.accept());
                match accepted {
                    Some(Ok((connection, _))) => {
                        connection.set_nonblocking(false).unwrap();
                        let clone = connection.try_clone().unwrap();
                        state.connections.lock().unwrap().push(clone);
                        let state = Arc::clone(&state);
                        thread::spawn(move || state.serve(connection));
                    }
                    Some(Err(_)) | None => thread::sleep(Duration::from_millis(1)),
                }
            }
            drop(listener);
            state.listening.store(false, Ordering::SeqCst);
        });
    }

    /// Makes it fail, connections that are open included.
    pub fn fail(&mut self, failure: Failure) {
        match failure {
            Failure::Killed => {
                self.state.killed.store(true, Ordering::SeqCst);
                self.socket = None;
                eventually("the port is closed", || {
                    (!self.state.listening.load(Ordering::SeqCst)).then_some(())
                });
            }
            Failure::Stalled => self.state.stalled.store(true, Ordering::SeqCst),
            Failure::BlackHoled => {
                self.state.accepts.store(false, Ordering::SeqCst);
                // As small as can be, to be filled.
                self.socket.as_ref().unwrap().listen(0).unwrap();
                // One more than the queue holds; others wait without end.
                for _ in 0..4 {
                    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                    socket.set_nonblocking(true).unwrap();
                    let _ = socket.connect(&self.address.into());
                    self.filling.push(socket);
                }
            }
        }
        if failure != Failure::Stalled {
            for connection in self.state.connections.lock().unwrap().drain(..) {
                let _ = connection.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Has it answer again.
    pub fn recover(&mut self) {
        self.state.stalled.store(false, Ordering::SeqCst);
        self.filling.clear();
        if let Some(socket) = &self.socket {
            socket.listen(QUEUE).unwrap();
        }
        self.state.accepts.store(true, Ordering::SeqCst);
        if self.state.killed.load(Ordering::SeqCst) {
            self.listen();
        }
    }

    /// Sets the status of its answers.
    pub fn answer(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    /// Sets the status of its answers to `/healthz`.
    pub fn set_health(&self, status: u16) {
        self.state.health.store(status, Ordering::SeqCst);
    }

    /// Requests so far, those for `/healthz` not included.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Requests for `/healthz` so far.
    pub fn checks(&self) -> usize {
        self.state.checks.load(Ordering::SeqCst)
    }
}

impl State {
    fn serve(&self, connection: TcpStream) -> Option<()> {
        let mut out = connection.try_clone().ok()?;
        let mut input = BufReader::new(connection);
        loop {
            let mut first = String::new();
            if input.read_line(&mut first).ok()? == 0 {
                return None;
            }
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if input.read_line(&mut line).ok()? == 0 {
                    return None;
                }
            }
            let is_check = first.contains(" /healthz ");
            let (counter, status) = if is_check {
                (&self.checks, &self.health)
            } else {
                (&self.requests, &self.status)
            };
            counter.fetch_add(1, Ordering::SeqCst);
            while self.stalled.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            let (status, name) = (status.load(Ordering::SeqCst), &self.name);
            let bodiless = status == 204 || first.starts_with("HEAD ");
            let (name, length) = match bodiless {
                true => ("", String::new()),
                false => (name.as_str(), format!("content-length: {}\r\n", name.len())),
            };
            let answer = format!("HTTP/1.1 {status} X\r\n{length}\r\n{name}");
            out.write_all(answer.as_bytes()).ok()?;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.killed.store(true, Ordering::SeqCst);
        self.state.stalled.store(false, Ordering::SeqCst);
    }
}

/// The addresses of servers, as a list of endpoints.
pub fn endpoints(servers: &[Server]) -> String {
    let addresses: Vec<_> = servers.iter().map(|s| s.address.to_string()).collect();
    format!("[{}]", addresses.join(", "))
}
