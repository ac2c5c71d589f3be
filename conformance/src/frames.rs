//! HTTP/2 frame by frame, for what no proper peer would send (RFC 9113).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// Frame types.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags.
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITY: u8 = 0x20;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl RawFrame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.as_ref().to_vec(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend_from_slice(&[self.kind, self.flags]);
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The error code of a `RST_STREAM` or `GOAWAY`.
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        let code = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(code.try_into().unwrap()))
    }
}

/// Header fields as HPACK literals without indexing (RFC 7541, section 6.2.2).
pub fn hpack(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// An HPACK integer with a prefix of seven bits.
fn integer(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        return block.push(u8::try_from(value).unwrap());
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The header block of a plain request without body, with more fields.
pub fn get_block(more: &[(&[u8], &[u8])]) -> Vec<u8> {
    request_block("GET", more)
}

/// The header block of a plain request with more fields.
pub fn request_block(method: &str, more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", b"test"),
        (b":path", b"/"),
    ];
    fields.extend_from_slice(more);
    hpack(&fields)
}

/// A connection on which frames are sent as they are.
pub struct RawH2 {
    tcp: TcpStream,
}

impl RawH2 {
    /// Connects, sends preface and settings.
    pub fn connect(address: SocketAddr) -> Self {
        let mut raw = Self::from(TcpStream::connect(address).unwrap());
        raw.send_bytes(PREFACE);
        raw.send(kind::SETTINGS, 0, 0, b"");
        raw
    }

    pub fn tcp(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        // A connection that was closed over an error is what tests look for.
        let _ = self.tcp.write_all(bytes);
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) {
        let frame = RawFrame::new(kind, flags, stream, payload);
        self.send_bytes(&frame.bytes());
    }

    /// Sends a request without body.
    pub fn get(&mut self, stream: u32) {
        let block = get_block(&[]);
        self.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, block);
    }

    pub fn read(&mut self) -> io::Result<RawFrame> {
        let mut head = [0; 9];
        self.tcp.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.tcp.read_exact(&mut payload)?;
        let stream = [head[5], head[6], head[7], head[8]];
        Ok(RawFrame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// Reads until a frame fits; an error when the connection ends before.
    pub fn read_until(&mut self, fits: impl Fn(&RawFrame) -> bool) -> io::Result<RawFrame> {
        loop {
            let frame = self.read()?;
            if fits(&frame) {
                return Ok(frame);
            }
        }
    }

    /// The error code with which the peer ends the connection.
    pub fn goaway(&mut self) -> Option<u32> {
        let frame = self.read_until(|f| f.kind == kind::GOAWAY).ok()?;
        frame.code()
    }

    /// The error code with which the peer ends a stream.
    pub fn reset(&mut self, stream: u32) -> Option<u32> {
        let fits = |f: &RawFrame| f.kind == kind::RST_STREAM && f.stream == stream;
        self.read_until(fits).ok()?.code()
    }
}

impl From<TcpStream> for RawH2 {
    fn from(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { tcp }
    }
}
