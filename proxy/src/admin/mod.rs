//! The admin endpoints, on a thread of their own.

mod clusters;

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;
use weir_abi::HeaderMap;

use crate::http::{Downstream, H1Downstream, Next};
use crate::limits::{ACCEPT_RETRY, ADMIN_CLOSE_TIMEOUT};
use crate::reload::{self, Listeners};
use crate::telemetry::Metrics;

/// What the endpoints show.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) metrics: Metrics,
    pub(crate) listeners: Listeners,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) reloads: mpsc::Sender<reload::Request>,
}

const HELP: &str = "\
Weir admin

  /clusters           endpoints and their health; ?format=json
  /generations        configurations that are served or draining
  /listeners          names and addresses of the listeners
  /metrics            metrics in Prometheus' text format
  POST /reload        read the configuration again; answers what came of it
  /ready              200 LIVE when serving, 503 while draining
  /rollouts           filters with another version beside them
  /stats/prometheus   the same as /metrics
";

/// Starts to serve on `listener`.
///
/// # Errors
/// When the thread or the socket does not start.
pub(crate) fn start(
    listener: TcpListener,
    state: AdminState,
    draining: watch::Receiver<bool>,
    replaced: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            let serving = serve(listener, state, draining, replaced);
            if let Err(error) = LocalSet::new().block_on(&runtime, serving) {
                tracing::error!("admin: {error}");
            }
        })?;
    Ok(())
}

async fn serve(
    listener: TcpListener,
    state: AdminState,
    draining: watch::Receiver<bool>,
    mut replaced: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            biased;
            Ok(_) = replaced.wait_for(|replaced| *replaced) => break,
            accepted = listener.accept() => accepted,
        };
        let connection = match accepted {
            Ok((connection, _)) => connection,
            Err(error) => {
                // Out of descriptors, mostly: closing connections will help.
                tracing::warn!("the admin cannot accept a connection: {error}");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (state, draining) = (state.clone(), draining.clone());
        tokio::task::spawn_local(async move {
            let mut downstream = H1Downstream::new(connection.into(), Rc::default(), false);
            while let Next::Request(head, _) = downstream.read_request().await {
                let (code, body) = answer(&head.headers, &state, &draining).await;
                let written = write(&mut downstream, code, body).await;
                if written.is_err() || !downstream.is_reusable() {
                    break;
                }
            }
            downstream.close(ADMIN_CLOSE_TIMEOUT).await;
        });
    }
    // Another process accepts; what has been accepted here goes on.
    drop(listener);
    std::future::pending().await
}

async fn answer(
    request: &HeaderMap,
    state: &AdminState,
    draining: &watch::Receiver<bool>,
) -> (u16, String) {
    let path = request.get(b":path").map_or(&b"/"[..], |p| p);
    let mut parts = path.splitn(2, |b| *b == b'?');
    let path = parts.next().unwrap_or_default();
    let query = parts.next().unwrap_or_default();
    let live = state.ready.load(Ordering::Acquire) && !*draining.borrow();
    match path {
        b"/" | b"/help" => (200, HELP.to_owned()),
        b"/ready" if *draining.borrow() => (503, "DRAINING\n".to_owned()),
        b"/ready" if live => (200, "LIVE\n".to_owned()),
        b"/ready" => (503, "INITIALIZING\n".to_owned()),
        b"/listeners" => {
            let mut list = String::new();
            for (name, address) in &**state.listeners.load() {
                let _ = writeln!(list, "{name}::{address}");
            }
            (200, list)
        }
        b"/clusters" => (200, clusters::show(&state.metrics.clusters.load(), query)),
        b"/generations" => (200, state.metrics.generations.table()),
        b"/rollouts" => (200, state.metrics.rollouts.table()),
        b"/reload" if request.get(b":method").is_none_or(|m| &m[..] != b"POST") => {
            (405, "a reload is asked for by POST\n".to_owned())
        }
        b"/reload" => reload(state).await,
        b"/metrics" | b"/stats/prometheus" => match state.metrics.render(live) {
            Ok(text) => (200, text),
            Err(error) => (500, format!("{error}\n")),
        },
        _ => (404, format!("no such endpoint\n\n{HELP}")),
    }
}

/// Asks for a reload and waits for what comes of it.
async fn reload(state: &AdminState) -> (u16, String) {
    let (asked, answered) = oneshot::channel();
    if state.reloads.send(asked).await.is_err() {
        return (503, "Weir is ending\n".to_owned());
    }
    match answered.await {
        Ok(Ok(report)) => (200, format!("{}\n", report.trim_end())),
        Ok(Err(error)) => (400, format!("{}\n", error.trim_end())),
        Err(_) => (503, "Weir is ending\n".to_owned()),
    }
}

async fn write(downstream: &mut H1Downstream, code: u16, body: String) -> io::Result<()> {
    let headers: HeaderMap = [
        (":status", code.to_string()),
        ("content-type", "text/plain; charset=utf-8".to_owned()),
        ("content-length", body.len().to_string()),
    ]
    .into_iter()
    .collect();
    downstream
        .send_headers(&headers, false)
        .map_err(io::Error::other)?;
    let body = Bytes::from(body);
    downstream
        .send_body(body.into(), true)
        .map_err(io::Error::other)?;
    let flushed = poll_fn(|context| downstream.poll_flush(context)).await;
    flushed.map_err(io::Error::other)
}
