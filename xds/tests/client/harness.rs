//! A running client, its judge played by the test, and resources.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, Resource as Wrapped,
};
use envoy_types::pb::google::protobuf::Any;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use weir_xds::{
    Client, ConnectionState, Counters, Identity, Judge, Offer, Options, ResourceType, Server,
    ServerAddress, Snapshots, StreamError, Subscriptions, Variant, Verdict,
};

use crate::server::ManagementServer;

/// What a test waits for has to come; this only says when it is hopeless.
const HOPELESS: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(HOPELESS, work).await;
    waited.expect("what was waited for has not come")
}

/// Runs a test with what it starts on one thread.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

struct Asks(mpsc::UnboundedSender<(Offer, oneshot::Sender<Verdict>)>);

impl Judge for Asks {
    async fn judge(&mut self, offer: Offer) -> Verdict {
        let (tell, told) = oneshot::channel();
        self.0.send((offer, tell)).unwrap();
        told.await.unwrap()
    }
}

/// A client that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) subscriptions: Subscriptions,
    pub(crate) snapshots: Snapshots,
    pub(crate) counters: Arc<Counters>,
    pub(crate) connection: tokio::sync::watch::Receiver<ConnectionState>,
    offers: mpsc::UnboundedReceiver<(Offer, oneshot::Sender<Verdict>)>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Starts one that has subscribed as `subscribe` does.
    pub(crate) fn start(options: Options, subscribe: impl FnOnce(&Subscriptions)) -> Self {
        let client = Client::new(options).unwrap();
        let subscriptions = client.subscriptions();
        subscribe(&subscriptions);
        let (asks, offers) = mpsc::unbounded_channel();
        Self {
            subscriptions,
            snapshots: client.snapshots(),
            counters: client.counters(),
            connection: client.connection(),
            offers,
            task: tokio::spawn(client.run(Asks(asks))).abort_handle(),
        }
    }

    /// The next offer, and where to say what becomes of it.
    pub(crate) async fn asked(&mut self) -> (Offer, oneshot::Sender<Verdict>) {
        within(self.offers.recv()).await.unwrap()
    }

    /// The next offer, of which this becomes.
    pub(crate) async fn offer(&mut self, verdict: Verdict) -> Offer {
        let (offer, tell) = self.asked().await;
        tell.send(verdict).unwrap();
        offer
    }

    /// Whether the judge has been asked something that nobody has answered.
    pub(crate) fn has_offer(&self) -> bool {
        !self.offers.is_empty()
    }

    /// What there is of a type, as `name@version`.
    pub(crate) fn held(&self, kind: ResourceType) -> Vec<String> {
        let snapshot = self.snapshots.current();
        let resources = snapshot.resources(kind);
        resources
            .map(|r| format!("{}@{}", r.name, r.version))
            .collect()
    }

    pub(crate) fn awaited(&self, kind: ResourceType) -> Vec<String> {
        let snapshot = self.snapshots.current();
        let awaited = snapshot.awaited(kind);
        awaited.map(|name| (**name).to_owned()).collect()
    }

    /// Why there is no stream, when there is none.
    pub(crate) async fn waits_because(&mut self) -> Arc<StreamError> {
        let is_waiting = |state: &ConnectionState| matches!(state, ConnectionState::Waiting(_));
        let state = within(self.connection.wait_for(is_waiting)).await.unwrap();
        let ConnectionState::Waiting(error) = &*state else {
            unreachable!("it was waited for")
        };
        Arc::clone(error)
    }

    pub(crate) async fn is_connected(&mut self) {
        let is_connected = |state: &ConnectionState| matches!(state, ConnectionState::Connected);
        within(self.connection.wait_for(is_connected))
            .await
            .unwrap();
    }
}

/// A client of that server, which comes back at once.
pub(crate) fn options(server: Server, variant: Variant) -> Options {
    let identity = Identity {
        id: "sidecar~1".to_owned(),
        cluster: "shop".to_owned(),
        ..Identity::default()
    };
    Options {
        variant,
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_millis(20),
        ..Options::new(server, identity)
    }
}

pub(crate) fn tcp(server: &ManagementServer) -> ServerAddress {
    ServerAddress::Tcp {
        host: server.address.ip().to_string(),
        port: server.address.port(),
    }
}

/// A client of deltas of a server without TLS.
pub(crate) fn deltas(server: &ManagementServer) -> Options {
    options(Server::plain(tcp(server)), Variant::Delta)
}

/// A client of the state of the world of a server without TLS.
pub(crate) fn worlds(server: &ManagementServer) -> Options {
    options(Server::plain(tcp(server)), Variant::StateOfTheWorld)
}

/// A message of that type: its name, and something else.
pub(crate) fn any(kind: ResourceType, name: &str, content: &str) -> Any {
    let mut value = Vec::new();
    for (tag, text) in [(0x0a, name), (0x7a, content)] {
        value.push(tag);
        value.push(u8::try_from(text.len()).unwrap());
        value.extend(text.as_bytes());
    }
    Any {
        type_url: kind.url().to_owned(),
        value,
    }
}

/// A delta with `name@version` resources, whose content is their version.
pub(crate) fn delta(
    kind: ResourceType,
    nonce: &str,
    resources: &[&str],
    removed: &[&str],
) -> DeltaDiscoveryResponse {
    let wrapped = |resource: &&str| {
        let (name, version) = resource.split_once('@').unwrap();
        Wrapped {
            name: name.to_owned(),
            version: version.to_owned(),
            resource: Some(any(kind, name, version)),
            ..Wrapped::default()
        }
    };
    DeltaDiscoveryResponse {
        type_url: kind.url().to_owned(),
        nonce: nonce.to_owned(),
        resources: resources.iter().map(wrapped).collect(),
        removed_resources: removed.iter().map(|&name| name.to_owned()).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

/// A state of the world with resources, whose content is the version.
pub(crate) fn world(
    kind: ResourceType,
    version: &str,
    nonce: &str,
    names: &[&str],
) -> DiscoveryResponse {
    let resources = names.iter().map(|name| any(kind, name, version));
    DiscoveryResponse {
        version_info: version.to_owned(),
        type_url: kind.url().to_owned(),
        nonce: nonce.to_owned(),
        resources: resources.collect(),
        ..DiscoveryResponse::default()
    }
}
