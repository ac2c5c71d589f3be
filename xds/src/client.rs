//! [`Client`]: keeps a stream to the server.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::sync::Arc;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::backoff::Backoff;
use crate::counters::Counters;
use crate::dial::{DialError, dial};
use crate::error::{OptionsError, StreamError};
use crate::judge::Judge;
use crate::limits::WINDOW_BYTES;
use crate::options::{Options, Variant};
use crate::protocol::{Delta, Protocol, StateOfTheWorld};
use crate::resource_type::ResourceType;
use crate::snapshots::Snapshots;
use crate::stream::{End, Stream};
use crate::subscriptions::{Shared, Subscriptions};

/// A client of one server. There is one stream at a time: when it breaks, another one
/// follows after a pause, and goes on where this one was. What was accepted stays.
pub struct Client {
    options: Options,
    endpoint: Endpoint,
    shared: Shared,
    counters: Arc<Counters>,
    connection: watch::Sender<ConnectionState>,
}

/// Whether there is a stream to the server.
#[derive(Debug, Clone, Default)]
pub enum ConnectionState {
    /// Not yet.
    #[default]
    Connecting,
    /// There is.
    Connected,
    /// Not any more, or still not; another attempt follows.
    Waiting(Arc<StreamError>),
}

impl Client {
    /// A client that does nothing until it is run.
    ///
    /// # Errors
    /// The server has an impossible name.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        let endpoint = endpoint(&options)?;
        Ok(Self {
            options,
            endpoint,
            shared: Shared::new(),
            counters: Arc::default(),
            connection: watch::Sender::default(),
        })
    }

    /// What it asks for, to be changed.
    pub fn subscriptions(&self) -> Subscriptions {
        Subscriptions::new(self.shared.clone(), self.options.service)
    }

    /// What it has.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.shared.snapshot.subscribe())
    }

    /// Whether it is connected.
    pub fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.connection.subscribe()
    }

    /// What it counts.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Keeps a stream to the server and has what comes judged, for ever: to end it, drop
    /// the future. It wants a tokio runtime with I/O and time.
    pub async fn run<J: Judge>(self, mut judge: J) -> Infallible {
        let mut backoff = Backoff::new(self.options.backoff_first, self.options.backoff_max);
        loop {
            let end = match self.options.variant {
                Variant::Delta => self.attempt::<Delta, J>(&mut judge, &mut backoff).await,
                Variant::StateOfTheWorld => {
                    let attempt = self.attempt::<StateOfTheWorld, J>(&mut judge, &mut backoff);
                    attempt.await
                }
            };
            self.counters.set_connected(false);
            self.counters.set_pending_requests(0);
            let error = match end {
                End::AnotherStream => {
                    self.connection.send_replace(ConnectionState::Connecting);
                    continue;
                }
                End::Failed(error) => error,
            };
            let pause = backoff.pause();
            let address = &self.options.server.address;
            tracing::warn!("xDS: no stream to {address}, next attempt in {pause:?}: {error}");
            self.count_failures();
            let state = ConnectionState::Waiting(Arc::new(error));
            self.connection.send_replace(state);
            sleep(pause).await;
        }
    }

    /// One stream.
    async fn attempt<P: Protocol, J: Judge>(&self, judge: &mut J, backoff: &mut Backoff) -> End {
        let channel = match self.connect().await {
            Ok(channel) => channel,
            Err(error) => return End::Failed(error.into()),
        };
        self.counters.set_connected(true);
        self.connection.send_replace(ConnectionState::Connected);
        tracing::info!("xDS: connected to {}", self.options.server.address);
        let (shared, counters) = (&self.shared, &*self.counters);
        let stream = Stream::<P, J>::new(&self.options, shared, counters, judge, backoff);
        stream.serve(channel).await
    }

    async fn connect(&self) -> Result<Channel, DialError> {
        let server = &self.options.server;
        let connecting = async {
            let mut connection = Some(TokioIo::new(dial(server).await?));
            // The channel would dial again by itself, with neither pause nor reason.
            let over = || io::Error::other("the connection is over");
            let once = service_fn(move |_: Uri| ready(connection.take().ok_or_else(over)));
            let channel = self.endpoint.connect_with_connector(once).await;
            channel.map_err(|error| DialError::Http {
                address: server.address.clone(),
                why: error.to_string(),
            })
        };
        let connected = timeout(self.options.connect_timeout, connecting).await;
        connected.unwrap_or_else(|_| {
            Err(DialError::Time {
                address: server.address.clone(),
            })
        })
    }

    /// Counts what was waited for, as far as somebody wants it.
    fn count_failures(&self) {
        let wanted = self.shared.wanted.borrow();
        for kind in ResourceType::ALL {
            if wanted.of(kind).is_something() {
                self.counters.count_failure(kind);
            }
        }
    }
}

fn endpoint(options: &Options) -> Result<Endpoint, OptionsError> {
    let authority = options.server.authority();
    let uri = |scheme| {
        let uri: Result<Uri, _> = format!("{scheme}://{authority}").parse();
        uri.map_err(|source| OptionsError::Authority {
            authority: authority.clone(),
            source,
        })
    };
    // Encryption is done by the time tonic sees the connection; it must only say so.
    let scheme = if options.server.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let endpoint = Endpoint::from(uri("http")?)
        .origin(uri(scheme)?)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .keep_alive_while_idle(true);
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::server::{Server, ServerAddress};

    #[test]
    fn a_server_with_an_impossible_name_is_refused() {
        let address = ServerAddress::Unix("/run/xds".into());
        let server = Server {
            authority: Some("a b".to_owned()),
            ..Server::plain(address)
        };
        let client = Client::new(Options::new(server, Identity::default()));
        let error = client.err().unwrap().to_string();
        let expected = "`a b` cannot be the authority of a management server: ";
        assert!(error.starts_with(expected), "{error}");
    }
}
