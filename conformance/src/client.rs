//! An HTTP/1.1 client that sends what it is told, byte by byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A client's connection.
pub struct Client {
    connection: BufReader<TcpStream>,
    host: String,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// In wire order, names as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// First value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.set_nodelay(true).unwrap();
        Self {
            connection: BufReader::new(connection),
            host: "test".to_owned(),
        }
    }

    /// The same, for requests to a host of that name.
    pub fn connect_as(address: SocketAddr, host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            ..Self::connect(address)
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.connection.get_mut().write_all(bytes.as_ref())
    }

    /// Sends a GET and reads the response.
    pub fn get(&mut self, path: &str) -> Response {
        self.get_with(path, &[])
    }

    /// Sends a GET with more headers and reads the response.
    pub fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.request("GET", path, headers, b"")
    }

    /// Sends a request, with content-length if it has a body, and reads the
    /// response.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let host = &self.host;
        let mut message = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in headers {
            message += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            message += &format!("content-length: {}\r\n", body.len());
        }
        message += "\r\n";
        self.send([message.as_bytes(), body].concat());
        self.read_response(method == "HEAD")
    }

    /// Reads the final response; panics when there is none.
    pub fn response(&mut self) -> Response {
        self.read_response(false)
    }

    fn read_response(&mut self, head: bool) -> Response {
        self.try_response(head).expect("a response")
    }

    /// Reads a response; an error when the connection ends before it does.
    pub fn try_response(&mut self, head: bool) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        let headers = self.headers()?;
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        if head || status < 200 || status == 204 || status == 304 {
            return Ok(response);
        }
        if response.header("transfer-encoding").is_some() {
            response.body = self.chunked()?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            response.body = vec![0; length];
            self.connection.read_exact(&mut response.body)?;
        } else {
            self.connection.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    fn headers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(headers);
            }
            let (name, value) = line.split_once(": ").ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.to_owned()));
        }
    }

    fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size =
                usize::from_str_radix(&self.line()?, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            let start = body.len();
            body.resize(start + size, 0);
            self.connection.read_exact(&mut body[start..])?;
            if !self.line()?.is_empty() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.connection.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Reads exactly as many bytes as `out` has room for.
    pub fn read_exact(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.connection.read_exact(out)
    }

    /// The connection itself; what has been read of it already is not in it.
    pub fn tcp(&mut self) -> &mut TcpStream {
        self.connection.get_mut()
    }

    /// Whether the other side has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        match self.connection.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
