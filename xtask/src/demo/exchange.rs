//! Messages of the demo: written, sent and read as plain text.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request or response.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Request line or status line.
    pub(super) start: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Message {
    pub(super) fn request(method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut headers: Vec<_> = [("host", "shop.example")].iter().map(own).collect();
        headers.extend(more.iter().map(own));
        if !body.is_empty() {
            headers.push(("content-length".to_owned(), body.len().to_string()));
        }
        Self {
            start: format!("{method} {path} HTTP/1.1"),
            headers,
            body: body.to_owned(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// As it goes over the wire.
    pub(super) fn wire(&self) -> String {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text + "\r\n" + &self.body
    }

    /// Reads a message; `None` when the connection ends before one begins.
    pub(super) fn read(input: &mut impl BufRead) -> Result<Option<Self>> {
        let start = line(input)?;
        if start.is_empty() {
            return Ok(None);
        }
        let mut message = Self {
            start,
            headers: Vec::new(),
            body: String::new(),
        };
        while let Some((name, value)) = line(input)?.split_once(':') {
            message
                .headers
                .push((name.to_owned(), value.trim().to_owned()));
        }
        let mut body = Vec::new();
        if message.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&line(input)?, 16)?;
                let start = body.len();
                body.resize(start + size, 0);
                input.read_exact(&mut body[start..])?;
                line(input)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = message.header("content-length") {
            body.resize(length.parse()?, 0);
            input.read_exact(&mut body)?;
        }
        message.body = String::from_utf8(body)?;
        Ok(Some(message))
    }
}

fn line(input: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Sends a request on a connection of its own and reads the response.
pub(super) fn send(address: SocketAddr, request: &Message) -> Result<Message> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(request.wire().as_bytes())?;
    Message::read(&mut BufReader::new(connection))?.context("the connection was closed")
}
