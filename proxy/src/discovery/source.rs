//! [`Sources`]: where resources come from: the server of everything, and services for
//! secrets.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tokio::sync::Mutex;
use weir_config::envoy::DynamicResources;
use weir_config::{Cluster, Endpoint};
use weir_xds::{
    Client, Counters, Identity, Judge, Offer, Options, ResourceType, Server, ServerAddress,
    Service, Snapshot, Snapshots, Subscriptions, Tls, Variant, Verdict,
};

use super::needs::{Need, Origin};
use super::state::State;
use crate::cluster::ClusterSpec;
use crate::generation::Generation;

/// A management server, as far as one of its services is used.
pub(super) struct Source {
    origin: Origin,
    subscriptions: Subscriptions,
    snapshots: Snapshots,
    pub(super) counters: Arc<Counters>,
    /// What it has been asked for.
    asked: HashSet<Need>,
    /// Until it runs.
    client: Option<Client>,
}

/// All of them; the first one has everything.
pub(super) struct Sources {
    list: Vec<Source>,
    identity: Identity,
    /// Those that static clusters are, by their names; or why one is none.
    servers: HashMap<String, Result<Server, String>>,
    /// Set once it is there.
    state: std::sync::Weak<Mutex<State>>,
}

/// Offers what one source has to the state of all.
struct Offers {
    source: usize,
    state: Arc<Mutex<State>>,
}

impl Judge for Offers {
    async fn judge(&mut self, offer: Offer) -> Verdict {
        self.state.lock().await.judge(self.source, offer).await
    }
}

impl Sources {
    /// The server of everything, in a static cluster.
    ///
    /// # Errors
    /// It cannot be spoken to like that.
    pub(super) fn new(
        dynamic: &DynamicResources,
        identity: Identity,
        generation: &Generation,
    ) -> Result<Self, String> {
        let clusters = generation.clusters.iter();
        let servers = clusters.map(|spec| (spec.name.clone(), server(spec)));
        let servers: HashMap<_, _> = servers.collect();
        let server = find(&servers, &dynamic.cluster)?;
        let mut options = Options::new(server, identity.clone());
        if !dynamic.delta {
            options.variant = Variant::StateOfTheWorld;
        }
        for (name, value) in &dynamic.headers {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            options.headers.append(name, value);
        }
        let source = Source::new(Origin::Ads, options)?;
        let all = [
            (dynamic.clusters, ResourceType::Cluster),
            (dynamic.listeners, ResourceType::Listener),
        ];
        for (_, kind) in all.into_iter().filter(|(wanted, _)| *wanted) {
            let subscribed = source.subscriptions.subscribe_all(kind);
            subscribed.map_err(|error| error.to_string())?;
        }
        Ok(Self {
            list: vec![source],
            identity,
            servers,
            state: std::sync::Weak::new(),
        })
    }

    /// The place of the one that resources of this origin come from.
    pub(super) fn of(&self, origin: &Origin) -> Option<usize> {
        self.list.iter().position(|source| source.origin == *origin)
    }

    pub(super) fn snapshot(&self, source: usize) -> Snapshot {
        self.list[source].snapshots.current()
    }

    /// Counters of the first.
    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.list[0].counters)
    }

    /// What each has.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = Snapshot> {
        self.list.iter().map(|source| source.snapshots.current())
    }

    /// Whether a source has been asked for it.
    pub(super) fn has_asked(&self, source: usize, need: &Need) -> bool {
        self.list[source].asked.contains(need)
    }

    /// Why nothing can come from there, if so.
    ///
    /// # Errors
    /// There is no such static cluster, or it cannot be spoken to.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), String> {
        match origin {
            Origin::Ads => Ok(()),
            Origin::Cluster(name) => find(&self.servers, name).map(drop),
        }
    }

    /// Asks for just these, each from where it comes.
    pub(super) fn subscribe(&mut self, wanted: &BTreeSet<Need>) {
        for need in wanted {
            if self.of(&need.origin).is_none() {
                self.add(&need.origin);
            }
        }
        for source in &mut self.list {
            let asked: HashSet<_> = wanted
                .iter()
                .filter(|n| n.origin == source.origin)
                .cloned()
                .collect();
            if asked == source.asked {
                continue;
            }
            let kinds = match source.origin {
                Origin::Ads => &ResourceType::ALL[..],
                Origin::Cluster(_) => &[ResourceType::Secret],
            };
            for kind in kinds.iter().filter(|kind| !kind.has_wildcard()) {
                let names = asked.iter().filter(|need| need.kind == *kind);
                let names = names.map(|need| Arc::clone(&need.name));
                if let Err(error) = source.subscriptions.set(*kind, names) {
                    tracing::error!("xDS: {error}");
                }
            }
            source.asked = asked;
        }
    }

    /// Begins to speak with a service for secrets.
    fn add(&mut self, origin: &Origin) {
        let Origin::Cluster(cluster) = origin else {
            return;
        };
        let source = find(&self.servers, cluster).and_then(|server| {
            let mut options = Options::new(server, self.identity.clone());
            options.service = Service::Single(ResourceType::Secret);
            options.variant = Variant::StateOfTheWorld;
            Source::new(origin.clone(), options)
        });
        match source {
            Ok(source) => {
                self.list.push(source);
                self.run();
            }
            Err(error) => tracing::error!("xDS: secrets of `{cluster}`: {error}"),
        }
    }

    /// Has every source's offers judged by `state` from now on.
    pub(super) fn start(&mut self, state: &Arc<Mutex<State>>) {
        self.state = Arc::downgrade(state);
        self.run();
    }

    fn run(&mut self) {
        let Some(state) = self.state.upgrade() else {
            return;
        };
        for (place, source) in self.list.iter_mut().enumerate() {
            if let Some(client) = source.client.take() {
                let offers = Offers {
                    source: place,
                    state: Arc::clone(&state),
                };
                tokio::spawn(client.run(offers));
            }
        }
    }
}

impl Source {
    fn new(origin: Origin, options: Options) -> Result<Self, String> {
        let client = Client::new(options).map_err(|error| error.to_string())?;
        Ok(Self {
            origin,
            subscriptions: client.subscriptions(),
            snapshots: client.snapshots(),
            counters: client.counters(),
            asked: HashSet::new(),
            client: Some(client),
        })
    }
}

fn find(servers: &HashMap<String, Result<Server, String>>, name: &str) -> Result<Server, String> {
    let none = || Err(format!("there is no static cluster `{name}`"));
    servers.get(name).cloned().unwrap_or_else(none)
}

/// The server that is in a static cluster: its first endpoint.
fn server(spec: &ClusterSpec) -> Result<Server, String> {
    let name = &spec.name;
    let (address, host) = address(&spec.config)?;
    let Some(tls) = spec.tls.of(None) else {
        return Ok(Server::plain(address));
    };
    let host = tls.server_name().or(host);
    let host = host.ok_or_else(|| format!("cluster `{name}` needs an `sni`"))?;
    let tls = Tls::new(&host, tls.client_config());
    Ok(Server::encrypted(
        address,
        tls.map_err(|error| error.to_string())?,
    ))
}

/// Where it is, and what its certificate is for if nobody says so.
fn address(cluster: &Cluster) -> Result<(ServerAddress, Option<String>), String> {
    let first = cluster.endpoints.first();
    let first = first.ok_or_else(|| format!("cluster `{}` has no endpoint", cluster.name.value))?;
    Ok(match &first.address.value {
        Endpoint::Name { host, port } => {
            let address = ServerAddress::Tcp {
                host: host.clone(),
                port: *port,
            };
            (address, Some(host.clone()))
        }
        Endpoint::Address(address) => match (address.inet(), address.unix()) {
            (Some(inet), _) => {
                let host = inet.ip().to_string();
                let address = ServerAddress::Tcp {
                    host: host.clone(),
                    port: inet.port(),
                };
                (address, Some(host))
            }
            (None, Some(unix)) => match unix.path() {
                Some(path) => (ServerAddress::Unix(path.into()), None),
                None => {
                    return Err("a socket without a file cannot be a management server".to_owned());
                }
            },
            (None, None) => return Err("a management server needs an address".to_owned()),
        },
    })
}
