//! The server that speaks HTTP/1.1.

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::chance::{Chance, Fate};

pub(crate) async fn serve(listener: TcpListener, chance: Chance) {
    while let Ok((connection, _)) = listener.accept().await {
        let chance = chance.clone();
        tokio::spawn(async move {
            // A connection that breaks is what all this is about.
            let _ = talk(connection, &chance).await;
        });
    }
}

async fn talk(mut connection: TcpStream, chance: &Chance) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut input = Vec::new();
    while read_request(&mut connection, &mut input).await? {
        match chance.fate() {
            Fate::Answer => answer(&mut connection, 200, 100).await?,
            Fate::AnswerMuch => answer(&mut connection, 200, 65_536).await?,
            Fate::Refuse => answer(&mut connection, 503, 0).await?,
            Fate::Stall => {
                connection.read_u8().await?;
            }
            Fate::Cut => {
                let part = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly so much";
                connection.write_all(part).await?;
                return Ok(());
            }
            Fate::Reset => {
                connection.set_zero_linger()?;
                return Ok(());
            }
            Fate::Close => return Ok(()),
        }
    }
    Ok(())
}

async fn answer(connection: &mut TcpStream, status: u16, length: usize) -> Result<()> {
    let mut answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
    answer.extend(std::iter::repeat_n('x', length));
    Ok(connection.write_all(answer.as_bytes()).await?)
}

/// Takes one request off the connection; false at its end.
async fn read_request(connection: &mut TcpStream, input: &mut Vec<u8>) -> Result<bool> {
    loop {
        if let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&input[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|l| l.lines().next()).unwrap_or("0");
            let whole = end + 4 + length.trim().parse::<usize>().context("a length")?;
            if input.len() >= whole {
                input.drain(..whole);
                return Ok(true);
            }
        }
        if connection.read_buf(input).await? == 0 {
            return Ok(false);
        }
    }
}
