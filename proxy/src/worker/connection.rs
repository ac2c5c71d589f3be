//! Connections of a worker: accepted, and served until they end. A stream is served
//! by the generation that is the current one when it begins.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use weir_config::{Codec, HttpOptions};

use super::patience::Patience;
use super::shared::{Acceptor, Alive, Directory, Entrance, Life, Served, Slot};
use crate::connection_limit::CountedConnection;
use crate::exchange::Exchange;
use crate::http::{
    CodecOptions, Connection, Downstream, H1Downstream, H2Downstream, Next, accept_h2,
};
use crate::limits::{ACCEPT_RETRY, DRAIN_IDLE_GRACE, LIMIT_WARNING_INTERVAL};
use crate::listener::{Asked, Inspected, InspectionError, OriginalDestination, original_dst};
use crate::proxy_protocol;
use crate::socket::{Accepted, SocketStream};
use crate::stream::ConnectionInfo;
use crate::tcp::{self, TcpProxy};
use crate::telemetry::{DownstreamConnection, ListenerMetrics};
use crate::tls::carried;

/// Accepts connections from one of the sockets until the address is given up, or the
/// process drains.
pub(super) async fn accept_loop(
    acceptor: Rc<Acceptor>,
    place: usize,
    life: Rc<Life>,
    directory: Rc<Directory>,
) {
    let Some(socket) = acceptor.sockets.get(place) else {
        return;
    };
    let (mut draining, mut replaced) = (life.draining.clone(), life.replaced.clone());
    let mut closing = acceptor.closing.subscribe();
    let mut trouble = Trouble::default();
    loop {
        tokio::select! {
            biased;
            Ok(_) = replaced.wait_for(|replaced| *replaced) => return,
            accepted = socket.accept() => match accepted {
                Ok(accepted) => {
                    let first_kept = life.first_kept;
                    let fd = accepted.connection.as_raw_fd();
                    if first_kept.is_some_and(|first| fd >= first) {
                        trouble.too_many(&acceptor.entrance().metrics);
                    } else {
                        spawn_connection(accepted, &acceptor, (&life, &directory));
                    }
                }
                Err(error) => {
                    // Out of descriptors, mostly: closing connections will help.
                    trouble.failed(&acceptor.entrance().metrics, &error);
                    sleep(ACCEPT_RETRY).await;
                }
            },
            // Connections that the kernel has accepted already come first.
            _ = draining.wait_for(|draining| *draining) => return,
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}

/// What goes wrong with accepting connections, told once in a while.
#[derive(Default)]
struct Trouble {
    told: Option<Instant>,
}

impl Trouble {
    /// A connection was closed, as few descriptors are left.
    fn too_many(&mut self, metrics: &ListenerMetrics) {
        metrics.global_overflow();
        if self.is_due() {
            tracing::warn!(
                listener = metrics.name(),
                "few file descriptors are left: connections are closed as they come; \
                 raise the hard limit (ulimit -Hn, LimitNOFILE) or set max_connections"
            );
        }
    }

    /// A connection could not be accepted.
    fn failed(&mut self, metrics: &ListenerMetrics, error: &io::Error) {
        metrics.accept_failure();
        if self.is_due() {
            let listener = metrics.name();
            tracing::warn!(listener, "cannot accept a connection: {error}");
        }
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self
            .told
            .is_none_or(|told| now.duration_since(told) >= LIMIT_WARNING_INTERVAL);
        if is_due {
            self.told = Some(now);
        }
        is_due
    }
}

/// Counts a connection, for as long as it is open and its listener's.
struct Admitted {
    _place: Option<CountedConnection>,
    _counted: DownstreamConnection,
}

impl Entrance {
    /// `None` if there are as many connections as there may be.
    fn admit(&self) -> Option<Admitted> {
        let place = self.max_connections.map(|max| self.connections.admit(max));
        if place.as_ref().is_some_and(Option::is_none) {
            self.metrics.overflow();
            return None;
        }
        Some(Admitted {
            _place: place.flatten(),
            _counted: self.metrics.connection(),
        })
    }
}

fn spawn_connection(
    accepted: Accepted,
    acceptor: &Rc<Acceptor>,
    (life, directory): (&Rc<Life>, &Rc<Directory>),
) {
    let entrance = acceptor.entrance();
    let Some(admitted) = entrance.admit() else {
        return;
    };
    let Accepted {
        connection,
        peer,
        local,
    } = accepted;
    let info = ConnectionInfo {
        id: entrance.worker.next_connection_id(),
        peer: peer.clone(),
        direct: peer.clone(),
        local,
        is_restored: false,
        original_src: None,
        filter_state: Rc::default(),
        tls: None,
        inspected: None,
    };
    let alive = Alive::connection(life);
    let (life, directory) = (Rc::clone(life), Rc::clone(directory));
    let acceptor = Rc::clone(acceptor);
    tokio::task::spawn_local(async move {
        connection.set_nodelay();
        let arrival = Arrival {
            connection,
            info,
            admitted,
        };
        let entered = Box::pin(enter(arrival, acceptor, life, directory)).await;
        if let Some((slot, arrival)) = entered {
            let Arrival {
                connection,
                info,
                admitted,
                ..
            } = arrival;
            serve(connection, info, &slot).await;
            drop(admitted);
        }
        drop(alive);
    });
}

/// A connection of which it is to be seen who serves it.
struct Arrival {
    connection: SocketStream,
    info: ConnectionInfo,
    admitted: Admitted,
}

/// Finds out what a connection is, as far as its listener is to, and which filter chain
/// it is for; `None` if that has failed, or it is for none.
async fn enter(
    mut arrival: Arrival,
    acceptor: Rc<Acceptor>,
    life: Rc<Life>,
    directory: Rc<Directory>,
) -> Option<(Rc<Slot>, Arrival)> {
    arrival.look_at(&acceptor.entrance(), &life).await?;
    // It may have become another one meanwhile.
    let mut entrance = acceptor.entrance();
    drop(acceptor);
    if entrance.original_dst.hands_over
        && arrival.info.is_restored
        && let Some(other) = directory.find(&arrival.info.local)
        && other.address != entrance.address
    {
        arrival.admitted = other.admit()?;
        // Where it was going is known.
        arrival.look_into(&other, &life).await?;
        entrance = directory.find(&arrival.info.local).unwrap_or(other);
    }
    let info = &arrival.info;
    let nothing = Inspected::default();
    let chain = entrance.matcher.find(&Asked {
        destination: &info.local,
        source: &info.peer,
        direct_source: &info.direct,
        inspected: info.inspected.as_deref().unwrap_or(&nothing),
    });
    let slot = chain.and_then(|chain| entrance.slots.get(chain));
    if slot.is_none() {
        entrance.metrics.no_filter_chain();
        let (listener, peer) = (entrance.metrics.name(), &info.direct);
        tracing::debug!(listener, %peer, "no filter chain is for the connection");
    }
    Some((Rc::clone(slot?), arrival))
}

impl Arrival {
    /// Finds out where it was going, and the rest.
    async fn look_at(&mut self, entrance: &Entrance, life: &Life) -> Option<()> {
        let how = entrance.original_dst;
        if how.restores {
            let original = original_dst(&self.connection, &entrance.address, how.transparent);
            match original {
                OriginalDestination::Here => {}
                OriginalDestination::Elsewhere(original) => {
                    self.info.local = original.into();
                    self.info.is_restored = true;
                }
                OriginalDestination::Itself(original) => {
                    entrance.metrics.loop_ended();
                    let (listener, peer) = (entrance.metrics.name(), &self.info.direct);
                    tracing::debug!(
                        listener, %peer, %original,
                        "the connection was for the listener itself, and goes nowhere else"
                    );
                }
            }
        }
        self.look_into(entrance, life).await
    }

    /// Finds out what its first bytes tell; `None` if it is to be closed.
    async fn look_into(&mut self, entrance: &Entrance, life: &Life) -> Option<()> {
        let (listener, peer) = (entrance.metrics.name(), self.info.direct.clone());
        let patience = || async {
            ended(life, &entrance.retired).await;
            sleep(DRAIN_IDLE_GRACE).await;
        };
        if let Some(options) = entrance.proxy_protocol {
            let told = tokio::select! {
                told = proxy_protocol::read(&mut self.connection, options) => told,
                () = patience() => return None,
            };
            match told {
                Ok(Some(ends)) => {
                    let destination = ends.destination.into();
                    self.info.peer = ends.client.into();
                    self.info.is_restored |= self.info.local != destination;
                    self.info.local = destination;
                }
                Ok(None) => {}
                Err(error) => {
                    entrance.metrics.no_proxy_header();
                    tracing::debug!(listener, %peer, "PROXY: {error}");
                    return None;
                }
            }
        }
        self.info.original_src = entrance.original_src.or(self.info.original_src);
        if let Some(inspection) = &entrance.inspection {
            let port = self.info.local.port();
            let inspected = tokio::select! {
                inspected = inspection.inspect(&self.connection, port) => inspected,
                () = patience() => return None,
            };
            match inspected {
                Ok(inspected) => self.info.inspected = Some(Rc::new(inspected)),
                Err(error) => {
                    tracing::debug!(listener, %peer, "{error}");
                    let is_late = matches!(error, InspectionError::Timeout);
                    if is_late {
                        entrance.metrics.inspection_timeout();
                    }
                    if !is_late || !inspection.continue_on_timeout {
                        return None;
                    }
                    self.register_anew()?;
                }
            }
        }
        Some(())
    }

    /// Has the socket tell again of bytes that were looked at, and not enough.
    fn register_anew(&mut self) -> Option<()> {
        match self.connection.watched() {
            Ok(connection) => self.connection = connection,
            Err(error) => {
                tracing::debug!(peer = %self.info.direct, "cannot watch a connection: {error}");
                return None;
            }
        }
        Some(())
    }
}

/// Serves a connection that is for a filter chain, until it ends.
async fn serve(connection: SocketStream, info: ConnectionInfo, slot: &Rc<Slot>) {
    let Some(served) = slot.current() else {
        return;
    };
    if served.shared.has_ended() {
        return;
    }
    match served.listener.tcp {
        Some(proxy) => Box::pin(serve_tcp(connection, info, proxy, &served, slot)).await,
        None => {
            let begun = Box::pin(begin(connection, info, &served, slot)).await;
            let http = Arc::clone(&served.listener.http);
            let codec = Rc::clone(&served.listener.codec);
            let begun = begun.filter(|(_, info)| served.listener.admits(info));
            // It may live longer than the generation that it began with.
            drop(served);
            if let Some((connection, info)) = begun {
                serve_connection(connection, info, &http, &codec, slot).await;
            }
        }
    }
}

/// Relays a client's connection to an endpoint.
async fn serve_tcp(
    connection: SocketStream,
    info: ConnectionInfo,
    proxy: TcpProxy,
    served: &Served,
    slot: &Slot,
) {
    let _alive = Alive::stream(&served.shared);
    let serving = async {
        if let Some((connection, info)) = begin(connection, info, served, slot).await {
            tcp::serve(connection, info, proxy, &served.listener, &served.shared).await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = served.shared.is_over() => {}
    }
}

/// Encrypts a connection, where its filter chain is to; `None` if that has failed.
async fn begin(
    connection: SocketStream,
    mut info: ConnectionInfo,
    served: &Served,
    slot: &Slot,
) -> Option<(Connection, ConnectionInfo)> {
    let listener = &served.listener;
    let Some(tls) = &listener.tls else {
        return Some((connection.into(), info));
    };
    let agreed = tokio::select! {
        agreed = tls.accept(connection) => agreed,
        () = idle_at_the_end(slot) => return None,
    };
    let metrics = &listener.metrics.tls;
    match agreed {
        Ok(connection) => {
            metrics.agreed(connection.facts());
            info.tls = Some(Arc::clone(connection.facts()));
            Some((connection.into(), info))
        }
        Err(error) => {
            metrics.refused(&error);
            let peer = &info.peer;
            tracing::debug!(listener = listener.metrics.name(), %peer, "TLS: {error}");
            None
        }
    }
}

/// Serves a client's connection, which speaks as its listener did when it began.
///
/// It may wait for a long time. What it does meanwhile has a future of its own, so that
/// it takes no room before and after.
async fn serve_connection(
    connection: Connection,
    info: ConnectionInfo,
    http: &HttpOptions,
    codec: &Rc<CodecOptions>,
    slot: &Rc<Slot>,
) {
    let agreed = info.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    let agreed = agreed.and_then(carried);
    // What was agreed on is what is spoken.
    let (is_http2, maybe_http2) = match http.codec {
        Codec::Auto => (agreed == Some(b"h2"), agreed.is_none()),
        Codec::Http2 => (true, false),
        Codec::Http1 => (false, false),
    };
    let speaks_http2 = if is_http2 {
        Some(connection)
    } else {
        let downstream = H1Downstream::new(connection, Rc::clone(codec), maybe_http2);
        Box::pin(serve_http1(downstream, &info, http, slot)).await
    };
    if let Some(connection) = speaks_http2 {
        Box::pin(serve_http2(connection, &info, http, codec, slot)).await;
    }
}

/// Serves one exchange after the other on a client's connection; gives the connection
/// back if the client turns out to speak HTTP/2.
async fn serve_http1(
    mut downstream: H1Downstream,
    info: &ConnectionInfo,
    http: &HttpOptions,
    slot: &Rc<Slot>,
) -> Option<Connection> {
    let mut idle = Patience::default();
    let patience = loop {
        let readable = tokio::select! {
            biased;
            readable = downstream.readable() => readable,
            () = idle_at_the_end(slot) => false,
            () = idle.ends_after(http.idle_timeout) => false,
        };
        if !readable {
            break Duration::ZERO;
        }
        let next = tokio::select! {
            // Mostly all of it has come: nothing else is looked at then.
            biased;
            next = downstream.read_request() => next,
            () = passed(http.request_headers_timeout.or(http.idle_timeout)) => {
                downstream.time_out()
            }
        };
        match next {
            Next::Closed => return None,
            Next::Http2 => return Some(downstream.into_connection()),
            next => {
                let exchange = serve_exchange(&mut downstream, next, info.clone(), slot);
                let whole = Box::pin(exchange).await;
                if !whole {
                    return None;
                }
            }
        }
        if !downstream.is_reusable() {
            break http.delayed_close_timeout.unwrap_or_default();
        }
    };
    downstream.close(patience).await;
    None
}

/// Returns when `limit` is over; without a limit, never.
async fn passed(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Serves what came on a connection or stream, by what is current now. False when
/// that was cut, as its generation has had long enough.
async fn serve_exchange<D: Downstream>(
    downstream: &mut D,
    next: Next,
    info: ConnectionInfo,
    slot: &Slot,
) -> bool {
    let Some(Served { listener, shared }) = slot.current() else {
        return false;
    };
    if shared.has_ended() {
        return false;
    }
    let alive = Alive::stream(&shared);
    let serving = async {
        match next {
            Next::Request(mut head, mut expects_continue) => {
                if expects_continue && listener.http.proxy_100_continue {
                    head.headers.add("expect", "100-continue");
                    expects_continue = false;
                }
                let exchange = Exchange::new(downstream, &shared, &listener, info, head);
                exchange.run(expects_continue).await;
            }
            Next::Rejected(error, head) => {
                let exchange = Exchange::new(downstream, &shared, &listener, info, head);
                exchange.reject(&error).await;
            }
            Next::Http2 | Next::Closed => {}
        }
    };
    let whole = tokio::select! {
        biased;
        () = shared.is_over() => false,
        () = serving => true,
    };
    drop(alive);
    whole
}

/// Serves the streams of a client's HTTP/2 connection, each by a task of its own.
async fn serve_http2(
    connection: Connection,
    info: &ConnectionInfo,
    http: &HttpOptions,
    codec: &CodecOptions,
    slot: &Rc<Slot>,
) {
    let begin = |mut stream: H2Downstream, next| {
        let (info, slot) = (info.clone(), Rc::clone(slot));
        tokio::task::spawn_local(async move {
            serve_exchange(&mut stream, next, info, &slot).await;
        });
    };
    let idle = http.idle_timeout;
    let ending = pin!(at_the_end(slot));
    if let Err(error) = accept_h2(connection, codec, ending, idle, begin).await {
        tracing::debug!("HTTP/2 connection: {error}");
    }
}

/// Returns when the process drains, or the filter chain is no more.
async fn at_the_end(slot: &Slot) {
    let Some(served) = slot.current() else {
        return;
    };
    let life = Rc::clone(&served.shared.life);
    drop(served);
    ended(&life, &slot.retired).await;
}

/// Returns when the process drains, or what a connection came in by is no more.
async fn ended(life: &Life, retired: &watch::Sender<bool>) {
    let mut draining = life.draining.clone();
    let mut retired = retired.subscribe();
    // An error means that the server is gone, too.
    tokio::select! {
        _ = draining.wait_for(|draining| *draining) => {}
        _ = retired.wait_for(|retired| *retired) => {}
    }
}

/// Returns a while after the process has begun to drain, or the filter chain is no more.
async fn idle_at_the_end(slot: &Slot) {
    at_the_end(slot).await;
    sleep(DRAIN_IDLE_GRACE).await;
}
