//! The admin endpoints, on a thread of their own.

mod answer;
mod certs;
mod clusters;
mod config_dump;
mod dashboard;
mod endpoints;
mod filters;
mod guard;
mod health;
mod listeners;
mod logging;
mod memory;
mod request;
mod server_info;
mod stats;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use socket2::Socket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;
use weir_abi::HeaderMap;
use weir_config::Address;

use self::answer::Answer;
use self::request::Request;
use crate::health::Health;
use crate::http::{H1Downstream, Next};
use crate::limits::{ACCEPT_RETRY, ADMIN_CLOSE_TIMEOUT};
use crate::reload::{self, Served};
use crate::socket::{Accepted, SocketListener};
use crate::telemetry::Metrics;

/// What the endpoints show and change.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) metrics: Metrics,
    pub(crate) served: Served,
    pub(crate) health: Arc<Health>,
    pub(crate) requests: mpsc::Sender<reload::Request>,
    pub(crate) process: Process,
}

/// How the process stands to those before and after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    /// It has taken over from another one.
    pub(crate) took_over: bool,
    /// Another one can take over from it.
    pub(crate) takes_over: bool,
}

/// Starts to serve on a socket that is bound.
///
/// # Errors
/// When the thread or the socket does not start.
pub(crate) fn start(
    socket: Socket,
    state: AdminState,
    replaced: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || {
            let serving = serve(socket, state, replaced);
            if let Err(error) = LocalSet::new().block_on(&runtime, serving) {
                tracing::error!("admin: {error}");
            }
        })?;
    Ok(())
}

async fn serve(
    socket: Socket,
    state: AdminState,
    mut replaced: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = SocketListener::listen(socket)?;
    loop {
        let accepted = tokio::select! {
            biased;
            Ok(_) = replaced.wait_for(|replaced| *replaced) => break,
            accepted = listener.accept() => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: closing connections will help.
                tracing::warn!("the admin cannot accept a connection: {error}");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let state = state.clone();
        tokio::task::spawn_local(async move {
            let Accepted {
                connection, local, ..
            } = accepted;
            let mut downstream = H1Downstream::new(connection.into(), Rc::default(), false);
            while let Next::Request(head, _) = downstream.read_request().await {
                let answer = guarded(&head.headers, &local, &state).await;
                let written = answer.write(&mut downstream).await;
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

/// Answers who may ask at `local`, in the way in which it may be asked.
async fn guarded(headers: &HeaderMap, local: &Address, state: &AdminState) -> Answer {
    let request = Request::of(headers);
    let served = state.served.load_full();
    let admin = served
        .iter()
        .filter_map(|served| served.config.admin.as_ref());
    let mut hosts = admin.flat_map(|admin| &admin.allowed_hosts);
    // Who speaks to a Unix socket has no name for it.
    let is_allowed = |name: &str| {
        local.unix().is_some() || hosts.any(|host| host.value.eq_ignore_ascii_case(name))
    };
    if let Err(refused) = guard::check(headers, request.method, is_allowed) {
        return Answer::code(403, format!("{refused}\n"));
    }
    match endpoints::find(&request.path) {
        Some(endpoint) if endpoint.methods.contains(&request.method) => {
            answer(&request, state).await
        }
        Some(endpoint) => {
            let path = endpoint.path;
            let text = format!("{path} is asked for by {}\n", endpoint.allow());
            Answer::code(405, text).header("allow", endpoint.allow())
        }
        None => not_found(),
    }
}

fn not_found() -> Answer {
    Answer::code(404, format!("no such endpoint\n\n{}", endpoints::help()))
}

async fn answer(request: &Request, state: &AdminState) -> Answer {
    match request.path.as_str() {
        "/" if request.wants_html => dashboard::page(),
        "/" | "/help" => Answer::text(endpoints::help()),
        "/certs" => certs::certs(state),
        "/clusters" => clusters::clusters(state, request),
        "/config_dump" => config_dump::config_dump(state, request),
        "/dashboard.json" => dashboard::data(state),
        "/drain_listeners" => health::drain_listeners(state, request).await,
        "/filters" => filters::filters(state, request),
        "/generations" => Answer::text(state.metrics.generations.table()),
        "/healthcheck/fail" => health::health_check(state, true),
        "/healthcheck/ok" => health::health_check(state, false),
        "/hot_restart_version" => {
            Answer::text(format!("{}\n", server_info::hot_restart_version(state)))
        }
        "/listeners" => listeners::listeners(state, request),
        "/live" => Answer::text("LIVE\n"),
        "/logging" => logging::logging(state, request),
        "/memory" => memory::memory(state),
        "/metrics" | "/stats/prometheus" => stats::prometheus(state, request),
        "/quitquitquit" => health::quit(state),
        "/ready" => health::ready(state),
        "/reload" => health::reload(state).await,
        "/rollouts" => Answer::text(state.metrics.rollouts.table()),
        "/server_info" => server_info::server_info(state),
        "/stats" => stats::stats(state, request),
        _ => not_found(),
    }
}

/// Asks for something that the workers do, and waits for what comes of it.
async fn ask(
    state: &AdminState,
    request: impl FnOnce(oneshot::Sender<Result<String, String>>) -> reload::Request,
) -> Answer {
    let ending = || Answer::code(503, "Weir is ending\n");
    let (asked, answered) = oneshot::channel();
    if state.requests.send(request(asked)).await.is_err() {
        return ending();
    }
    match answered.await {
        Ok(Ok(report)) => Answer::text(format!("{}\n", report.trim_end())),
        Ok(Err(error)) => Answer::code(400, format!("{}\n", error.trim_end())),
        Err(_) => ending(),
    }
}
