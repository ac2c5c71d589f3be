//! One connection of the load generator.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep_until;

use super::Plan;
use super::response::{self, Response};

/// What is asked, again and again.
const REQUEST: &[u8] = b"GET /catalogue/shoes?size=42 HTTP/1.1\r\n\
    host: shop.example.com\r\n\
    user-agent: weir-load\r\n\
    accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n\
    accept-encoding: gzip, br\r\n\
    cookie: session=9f86d081884c7d659a2feaa0c55ad015; theme=dark\r\n";

/// Room for a response as they usually are; more is found when needed.
pub(super) const RESPONSE_SIZE: usize = 4096;

/// What all connections have seen so far.
pub(super) struct Tally {
    pub(super) latencies: Vec<Duration>,
    pub(super) errors: usize,
    /// Connections that wait for a response.
    pub(super) under_way: usize,
    /// Requests that may still be sent.
    left: usize,
}

impl Tally {
    pub(super) fn new(requests_max: usize) -> Self {
        Self {
            latencies: Vec::new(),
            errors: 0,
            under_way: 0,
            left: requests_max,
        }
    }

    /// Whether another request may be sent.
    fn take(&mut self) -> bool {
        let more = self.left > 0;
        self.left -= usize::from(more);
        more
    }

    fn count(&mut self, status: u16, latency: Duration) {
        if status == 200 {
            self.latencies.push(latency);
        } else {
            self.errors += 1;
        }
    }
}

/// Asks over and over until `deadline`, or until the connection fails.
pub(super) async fn ask_until(deadline: Instant, plan: Plan, tally: Rc<RefCell<Tally>>) {
    tally.borrow_mut().under_way += 1;
    if ask(deadline, &plan, &tally).await.is_err() {
        tally.borrow_mut().errors += 1;
    }
    tally.borrow_mut().under_way -= 1;
}

async fn ask(deadline: Instant, plan: &Plan, tally: &RefCell<Tally>) -> io::Result<()> {
    let request = [REQUEST, plan.headers.as_bytes(), b"\r\n"].concat();
    let mut connection = connect(plan.address).await?;
    let mut buffer = BytesMut::with_capacity(RESPONSE_SIZE);
    while Instant::now() < deadline && tally.borrow_mut().take() {
        let sent = Instant::now();
        connection.write_all(&request).await?;
        let response = read_response(&mut connection, &mut buffer).await?;
        tally.borrow_mut().count(response.status, sent.elapsed());
        if !response.keep_alive {
            connection = connect(plan.address).await?;
        }
        if !plan.pace.is_zero() {
            sleep_until((sent + plan.pace).into()).await;
        }
    }
    Ok(())
}

pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

pub(super) async fn read_response(
    connection: &mut TcpStream,
    buffer: &mut BytesMut,
) -> io::Result<Response> {
    loop {
        if connection.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(response) = response::parse(buffer)? {
            buffer.advance(response.length);
            buffer.reserve(RESPONSE_SIZE);
            return if buffer.is_empty() {
                Ok(response)
            } else {
                Err(response::malformed("bytes after the response"))
            };
        }
    }
}
