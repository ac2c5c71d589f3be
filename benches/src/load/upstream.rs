//! The least that can stand behind a proxy: it answers every request with the
//! same bytes and looks at nothing but where a request ends.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Room for a request's head as they usually are.
const REQUEST_SIZE: usize = 4096;

const END: &[u8] = b"\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: text/plain\r\n\
    content-length: 64\r\n\
    cache-control: max-age=60\r\n\
    \r\n\
    --------------------------- 64 bytes ---------------------------";

/// Answers requests without a body on all connections to `listener`.
///
/// # Errors
/// When no connection can be accepted any more.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (connection, _) = listener.accept().await?;
        // A connection that breaks is the proxy's to tell of.
        tokio::spawn(answer_all(connection));
    }
}

async fn answer_all(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(REQUEST_SIZE);
    while connection.read_buf(&mut buffer).await? > 0 {
        while let Some(at) = buffer.windows(END.len()).position(|bytes| bytes == END) {
            buffer.advance(at + END.len());
            connection.write_all(RESPONSE).await?;
        }
        buffer.reserve(REQUEST_SIZE);
    }
    Ok(())
}
