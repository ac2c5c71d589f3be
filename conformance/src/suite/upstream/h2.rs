//! An HTTP/2 upstream.

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::super::client::wait_for_others;
use super::super::h2_text::{lines, reason, receive, regular};
use super::super::journal::{End, Message};
use super::super::socket::Side;
use super::super::step::{Step, ends_message};
use super::super::text::show;
use super::Upstream;

pub(super) async fn serve(stream: TcpStream, upstream: &Upstream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut builder = h2::server::Builder::new();
    // a connection that was made and not used is none
    let Ok(mut connection) = builder
        .enable_connect_protocol()
        .handshake::<_, Bytes>(stream)
        .await
    else {
        return Ok(());
    };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let upstream = upstream.clone();
        streams.spawn_local(async move {
            if let Err(error) = answer(request, respond, &upstream).await {
                upstream.journal.trouble(format!("upstream: {error:#}"));
            }
        });
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    upstream: &Upstream,
) -> Result<()> {
    let (head, body) = request.into_parts();
    let target = head
        .uri
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let mut message = Message {
        has_head: true,
        ..Message::default()
    };
    message
        .head
        .push(format!("{} {target} HTTP/2", head.method));
    if let Some(scheme) = head.uri.scheme_str() {
        message.head.push(format!(":scheme: {scheme}"));
    }
    if let Some(authority) = head.uri.authority() {
        message.head.push(format!(
            ":authority: {}",
            show(authority.as_str().as_bytes())
        ));
    }
    if let Some(protocol) = head.extensions.get::<h2::ext::Protocol>() {
        message
            .head
            .push(format!(":protocol: {}", protocol.as_str()));
    }
    message.head.extend(lines(&head.headers));
    let index = upstream.journal.write(|entries| {
        entries.upstream.push(message);
        entries.upstream.len() - 1
    });
    let reading = receive(body, Side::Upstream, index, upstream.journal.clone());
    let playing = play(&mut respond, &target, index, upstream);
    let (_, played) = tokio::join!(reading, playing);
    played
}

async fn play(
    respond: &mut SendResponse<Bytes>,
    target: &str,
    index: usize,
    upstream: &Upstream,
) -> Result<()> {
    let steps = upstream.script(target);
    let journal = &upstream.journal;
    let mut sender: Option<SendStream<Bytes>> = None;
    for (at, step) in steps.iter().enumerate() {
        let end = ends_message(&steps, at);
        match step {
            Step::Response {
                status, headers, ..
            } => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::from_u16(*status)?;
                *response.headers_mut() = regular(headers)?;
                if *status < 200 {
                    respond.send_informational(response).ok();
                } else {
                    sender = respond.send_response(response, end).ok();
                }
            }
            Step::Body(bytes) | Step::Last(bytes) => {
                let end = end || matches!(step, Step::Last(_));
                if let Some(sender) = &mut sender {
                    sender.send_data(Bytes::from(bytes.clone()), end).ok();
                }
            }
            Step::End => drop(
                sender
                    .as_mut()
                    .map(|sender| sender.send_data(Bytes::new(), true)),
            ),
            Step::Trailers(headers) => {
                let trailers = regular(headers)?;
                drop(sender.as_mut().map(|sender| sender.send_trailers(trailers)));
            }
            Step::Reset(name) => {
                let reason = reason(name.as_deref())?;
                match &mut sender {
                    Some(sender) => sender.send_reset(reason),
                    None => respond.send_reset(reason),
                }
                return Ok(());
            }
            Step::WholeRequest => {
                let ended = journal
                    .find(|entries| entries.upstream[index].end.clone())
                    .await;
                if ended != End::Complete {
                    return Ok(());
                }
            }
            Step::RequestHead => {}
            Step::RequestBody(part) => {
                let text = std::str::from_utf8(part).context("the text of `request_body`")?;
                let so = |message: &Message| message.contains(text) || message.end.is_some();
                journal
                    .wait("a request's body", |e| so(&e.upstream[index]).then_some(()))
                    .await;
            }
            Step::Flush => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            Step::Silence(duration) => tokio::time::sleep(*duration).await,
            step => wait_for_others(step, journal).await?,
        }
    }
    // a reset after the whole request is told here only
    if let Some(sender) = &mut sender {
        let reset = std::future::poll_fn(|context| sender.poll_reset(context)).await;
        if let Ok(reason) = reset {
            let note = format!("reset {reason:?}");
            journal.write(|entries| entries.upstream[index].notes.push(note));
        }
    }
    Ok(())
}
