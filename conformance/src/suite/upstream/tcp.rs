//! An upstream of raw TCP.

use anyhow::Result;
use tokio::net::TcpStream;

use super::super::raw::RawConnection;
use super::super::socket::Side;
use super::Upstream;

pub(super) async fn serve(stream: TcpStream, upstream: &Upstream) -> Result<()> {
    let mut connection = RawConnection::new(stream, Side::Upstream, "", &upstream.journal);
    if let Some(steps) = upstream.scripts.get("*") {
        connection.play(steps).await?;
    }
    Ok(())
}
