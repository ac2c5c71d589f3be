//! The upstream of the demo: a shop that says more than it should.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use super::exchange::Message;

/// The last request and the response to it.
type Last = Arc<Mutex<Option<(Message, Message)>>>;

pub(super) struct Shop {
    address: SocketAddr,
    last: Last,
}

impl Shop {
    /// Opens on a free port; its threads end with the process.
    pub(super) fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let last = Last::default();
        let seen = Arc::clone(&last);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || {
                    if let Err(error) = serve(connection, &seen) {
                        eprintln!("upstream: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, last })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last request as it came in, and the response as it went out.
    pub(super) fn last_exchange(&self) -> Option<(Message, Message)> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.take()
    }
}

fn serve(connection: TcpStream, last: &Last) -> Result<()> {
    let mut out = connection.try_clone()?;
    let mut input = BufReader::new(connection);
    while let Some(request) = Message::read(&mut input)? {
        let response = answer(&request);
        let wire = response.wire();
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((request, response));
        out.write_all(wire.as_bytes())?;
    }
    Ok(())
}

fn answer(request: &Message) -> Message {
    let body = if request.body.is_empty() {
        r#"{"order":7,"email":"ada@example.org","card":"4111 1111 1111 1111"}"#.to_owned()
    } else {
        format!(r#"{{"accepted":true,"echo":{}}}"#, request.body)
    };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("content-length", body.len().to_string()),
        ("server", "shop/1.2.3 (legacy)".to_owned()),
        ("x-powered-by", "PHP/5.4".to_owned()),
    ];
    Message {
        start: "HTTP/1.1 200 OK".to_owned(),
        headers: headers.map(|(n, v)| (n.to_owned(), v)).to_vec(),
        body,
    }
}
