//! An upstream that answers as a test wants it, a thread a connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use super::PATIENCE;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// In wire order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, v)| v.as_str())
    }
}

/// What the upstream does with a request.
pub enum Answer {
    /// Sends these bytes and keeps the connection.
    Raw(Vec<u8>),
    /// Sends these bytes and closes the connection.
    RawThenClose(Vec<u8>),
    /// Says nothing more.
    Silence,
}

impl Answer {
    /// `200` with a body and its length.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::with_headers("", body)
    }

    /// `200` with header lines, each ended by CRLF, and a body.
    pub fn with_headers(lines: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n",
            body.len()
        );
        Self::Raw([head.as_bytes(), body].concat())
    }
}

/// A running upstream; its threads end with the process.
pub struct Upstream {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Upstream {
    /// Answers each request by `answer`, whole request first.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer)
    }

    /// The same, at an address.
    pub fn start_at(
        address: impl ToSocketAddrs,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let connections = Arc::clone(&upstream.connections);
        let requests = Arc::clone(&upstream.requests);
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
                // A connection that breaks is the test's to notice.
                thread::spawn(move || drop(serve(connection, &*answer, &requests)));
            }
        });
        upstream
    }

    /// Answers `200` with the request as text: the request line, the headers in
    /// order, an empty line, the body.
    pub fn echo() -> Self {
        Self::start(|request| {
            let mut text = format!("{} {}\n", request.method, request.path);
            for (name, value) in &request.headers {
                text += &format!("{name}: {value}\n");
            }
            text += "\n";
            Answer::ok([text.as_bytes(), &request.body].concat())
        })
    }

    /// Holds requests for `/slow` back. Answers with `x-version` of the request.
    pub fn slow() -> (Self, Held) {
        let (arrived, arrivals) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let upstream = Self::start(move |request| {
            if request.path == "/slow" {
                // A test that is over has dropped its ends.
                let _ = arrived.send(());
                let _ = released.lock().unwrap().recv();
            }
            Answer::ok(request.header("x-version").unwrap_or("none"))
        });
        (upstream, Held { arrivals, release })
    }

    /// Number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// The requests that [`Upstream::slow`] holds back; all of them go on without this.
pub struct Held {
    arrivals: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
}

impl Held {
    /// Waits until another one is there.
    pub fn arrived(&self) {
        self.arrivals.recv_timeout(PATIENCE).unwrap();
    }

    /// Lets one go on.
    pub fn release(&self) {
        self.release.send(()).unwrap();
    }
}

fn serve(
    connection: TcpStream,
    answer: &dyn Fn(&Request) -> Answer,
    requests: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut out = connection.try_clone()?;
    let mut input = BufReader::new(connection);
    while let Some(request) = read_request(&mut input)? {
        let answer = answer(&request);
        requests.lock().unwrap().push(request);
        match answer {
            Answer::Raw(bytes) => out.write_all(&bytes)?,
            Answer::RawThenClose(bytes) => return out.write_all(&bytes),
            Answer::Silence => {
                out.set_read_timeout(Some(PATIENCE))?;
                let _ = input.fill_buf()?;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read_request(input: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let first = line(input)?;
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        let line = line(input)?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    if request.header("transfer-encoding").is_some() {
        loop {
            let size =
                usize::from_str_radix(&line(input)?, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            let start = request.body.len();
            request.body.resize(start + size, 0);
            input.read_exact(&mut request.body[start..])?;
            line(input)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().map_err(|_| io::ErrorKind::InvalidData)?];
        input.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}

fn line(input: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    while line.ends_with(b"\n") || line.ends_with(b"\r") {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
