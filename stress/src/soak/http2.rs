//! The server that speaks HTTP/2, and gRPC on it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::chance::{Chance, Fate};

/// How long a stream that stalls is kept: gRPC streams have no timeout.
const STALL: Duration = Duration::from_millis(150);

pub(crate) async fn serve(listener: TcpListener, chance: Chance) {
    while let Ok((connection, _)) = listener.accept().await {
        let chance = chance.clone();
        tokio::spawn(async move {
            // A connection that breaks is what all this is about.
            let _ = talk(connection, chance).await;
        });
    }
}

async fn talk(connection: TcpStream, chance: Chance) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut connection = h2::server::handshake(connection).await?;
    let close = Arc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = close.notified() => return Ok(()),
        };
        let Some(accepted) = accepted else {
            return Ok(());
        };
        let (request, respond) = accepted?;
        let (fate, close) = (chance.fate(), Arc::clone(&close));
        if fate == Fate::Close {
            close.notify_one();
            continue;
        }
        tokio::spawn(async move {
            let _ = respond_to(request, respond, fate).await;
        });
    }
}

async fn respond_to(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    fate: Fate,
) -> Result<()> {
    let grpc = request.uri().path().starts_with("/soak.Service/");
    let mut body = request.into_body();
    // A stream that its client ends later gets its answer before.
    if let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    match fate {
        Fate::Stall => {
            let reset = poll_fn(|context| respond.poll_reset(context));
            let _ = tokio::time::timeout(STALL, reset).await;
            respond.send_reset(Reason::CANCEL);
            return Ok(());
        }
        Fate::Reset | Fate::Close => {
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ok(());
        }
        _ => {}
    }
    let length = if fate == Fate::AnswerMuch {
        65_536
    } else {
        100
    };
    let refused = fate == Fate::Refuse;
    let status = if refused && !grpc { 503 } else { 200 };
    let head = Response::builder().status(status);
    let mut stream = respond.send_response(head.body(())?, false)?;
    if fate == Fate::Cut {
        stream.send_data(Bytes::from_static(b"\0\0\0"), false)?;
        stream.send_reset(Reason::INTERNAL_ERROR);
        return Ok(());
    }
    if !grpc {
        return send(&mut stream, vec![b'x'; length].into(), true).await;
    }
    if !refused {
        let prefix = [&[0][..], &(length as u32).to_be_bytes()].concat();
        let message = [&prefix[..], &vec![b'm'; length]].concat();
        send(&mut stream, message.into(), false).await?;
    }
    let mut trailers = HeaderMap::new();
    let code = if refused { "7" } else { "0" };
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    Ok(stream.send_trailers(trailers)?)
}

async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) -> Result<()> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(capacity) = poll_fn(|context| stream.poll_capacity(context)).await else {
            return Ok(());
        };
        let part = data.split_to(capacity?.min(data.len()));
        stream.send_data(part, end && data.is_empty())?;
    }
    Ok(())
}
