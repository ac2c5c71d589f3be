//! A client of raw TCP.

use anyhow::Result;
use tokio::net::TcpStream;

use super::super::raw::RawConnection;
use super::super::socket::Side;
use super::Client;

pub(super) async fn play(client: &Client<'_>) -> Result<()> {
    let mut steps = client.steps;
    loop {
        let stream = TcpStream::connect(client.address).await?;
        let mut connection = RawConnection::new(stream, Side::Client, client.name, client.journal);
        steps = connection.play(steps).await?;
        if steps.is_empty() {
            return Ok(());
        }
    }
}
