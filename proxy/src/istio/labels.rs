//! [`Ends`]: what a stream has to say of both its ends, and the labels that follow.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;
use weir_config::{IstioReporter, IstioTag as Tag, Metadata};

use super::record::Record;
use super::workload::Workload;
use super::{of_istio, text};
use crate::cluster::Cluster;
use crate::limits::ISTIO_LABEL_BYTES;
use crate::route::Route;
use crate::stream::FilteredStream;
use crate::tls::TlsFacts;

const UNKNOWN: &str = "unknown";
const LATEST: &str = "latest";

/// Clusters of Istio's that stand for no service.
const NO_SERVICES: [&str; 5] = [
    "BlackHoleCluster",
    "PassthroughCluster",
    "InboundPassthroughCluster",
    "InboundPassthroughClusterIpv4",
    "InboundPassthroughClusterIpv6",
];

/// The values of all labels, each at the place of its tag.
pub(super) struct Values<'v>([&'v str; Tag::ALL.len()]);

impl<'v> Values<'v> {
    pub(super) fn of(&self, tag: Tag) -> &'v str {
        self.0[tag as usize]
    }

    /// As much of each as a label has.
    pub(super) fn set(&mut self, tag: Tag, value: &'v str) {
        self.0[tag as usize] = &value[..value.floor_char_boundary(ISTIO_LABEL_BYTES)];
    }
}

/// What there is to be known of the ends of a stream.
pub(super) struct Ends {
    reporter: IstioReporter,
    /// The client beside the server, the server beside the client.
    peer: Option<Rc<Workload>>,
    /// The server of a waypoint.
    server: Option<Rc<Workload>>,
    tls: Option<Arc<TlsFacts>>,
    /// What was asked for; empty if that does not count.
    host: String,
    route: Option<Arc<Route>>,
    cluster: Option<Rc<Cluster>>,
}

impl Ends {
    pub(super) fn of(
        reporter: IstioReporter,
        takes_host: bool,
        stream: &FilteredStream,
        record: &Record,
    ) -> Self {
        let info = &stream.info;
        let server = || {
            let told = record.endpoint.borrow().clone();
            told.or_else(|| {
                let metadata = info.upstream_metadata.borrow();
                Some(Rc::new(of_endpoint(metadata.as_deref()?)?))
            })
        };
        let (peer, server, tls) = match reporter {
            IstioReporter::Source => (server(), None, info.upstream_tls.borrow().clone()),
            IstioReporter::Destination => {
                (record.client.clone(), None, info.connection.tls.clone())
            }
            IstioReporter::Waypoint => {
                (record.client.clone(), server(), info.connection.tls.clone())
            }
        };
        let host = || {
            let headers = stream.request_map();
            let host = headers.get(b":authority");
            host.map(|host| String::from_utf8_lossy(host).into_owned())
        };
        Self {
            reporter,
            peer,
            server,
            tls,
            host: takes_host.then(host).flatten().unwrap_or_default(),
            route: info.route.borrow().clone(),
            cluster: record.cluster.borrow().clone(),
        }
    }

    /// The labels of both ends; `own` is the workload beside this proxy.
    pub(super) fn values<'v>(&'v self, own: &'v Workload) -> Values<'v> {
        let mut values = Values([""; Tag::ALL.len()]);
        let known = |text: &'v str| if text.is_empty() { UNKNOWN } else { text };
        let (peer_principal, own_principal) = self.principals();
        let namespace = namespace(peer_principal).or_else(|| {
            let peer = self.peer.as_deref()?;
            Some(peer.namespace.as_str())
        });
        let namespace = known(namespace.unwrap_or_default());
        let (host, service) = self.service();
        let own_end = End {
            workload: &own.name,
            namespace: &own.namespace,
            principal: known(own_principal),
            app: &own.app,
            version: &own.version,
            service: &own.canonical_name,
            revision: &own.canonical_revision,
            cluster: &own.cluster,
        };
        let peer_end = End::told(self.peer.as_deref(), namespace, known(peer_principal));
        match self.reporter {
            IstioReporter::Source => {
                values.set(Tag::Reporter, "source");
                own_end.source(&mut values);
                peer_end.destination(&mut values);
                values.set(Tag::DestinationService, known(host));
                values.set(Tag::DestinationServiceName, known(service));
                values.set(Tag::DestinationServiceNamespace, namespace);
                // Whether the server knows its client is for it to say.
                values.set(Tag::ConnectionSecurityPolicy, UNKNOWN);
            }
            IstioReporter::Destination | IstioReporter::Waypoint => {
                peer_end.source(&mut values);
                let of_server = match self.reporter {
                    IstioReporter::Waypoint => {
                        values.set(Tag::Reporter, "waypoint");
                        let server = self.server.as_deref();
                        let namespace = server.map_or("", |server| server.namespace.as_str());
                        End::told(server, known(namespace), UNKNOWN)
                    }
                    _ => {
                        values.set(Tag::Reporter, "destination");
                        own_end
                    }
                };
                let or_own = |text: &'v str| match text {
                    "" => of_server.service,
                    text => text,
                };
                values.set(Tag::DestinationService, or_own(host));
                values.set(Tag::DestinationServiceName, or_own(service));
                values.set(Tag::DestinationServiceNamespace, &own.namespace);
                of_server.destination(&mut values);
                values.set(Tag::DestinationCluster, &own.cluster);
                let both = !peer_principal.is_empty() && !own_principal.is_empty();
                let policy = if both { "mutual_tls" } else { "none" };
                values.set(Tag::ConnectionSecurityPolicy, policy);
            }
        }
        values
    }

    /// Who the peer is, and who this side, as their certificates say.
    fn principals(&self) -> (&str, &str) {
        let Some(tls) = &self.tls else {
            return ("", "");
        };
        let [peer, own] = [&tls.peer, &tls.local].map(|certificate| {
            let uris = certificate.as_ref().map(|facts| &facts.uri_sans);
            uris.and_then(|uris| uris.first())
                .map_or("", String::as_str)
        });
        (peer, own)
    }

    /// The host of the service that is asked for, and its name.
    fn service(&self) -> (&str, &str) {
        let host = self.host.as_str();
        match self.route.as_ref().map(|route| route.name.as_str()) {
            Some("block_all") => return (host, "BlackHoleCluster"),
            Some("allow_any") => return (host, "PassthroughCluster"),
            _ => {}
        }
        let Some(cluster) = &self.cluster else {
            return (host, host);
        };
        if let Some(name) = NO_SERVICES.iter().find(|name| ***name == *cluster.name) {
            return (host, *name);
        }
        let services = of_istio(cluster.metadata()).and_then(|istio| istio.get("services"));
        let Some(Json::Object(service)) = services.and_then(|services| services.get(0)) else {
            return (host, host);
        };
        let host = text(service, "host").unwrap_or(host);
        let short = || host.split('.').next().unwrap_or_default();
        (host, text(service, "name").unwrap_or_else(short))
    }
}

/// The labels of one end.
#[derive(Clone, Copy)]
struct End<'v> {
    workload: &'v str,
    namespace: &'v str,
    principal: &'v str,
    app: &'v str,
    version: &'v str,
    service: &'v str,
    revision: &'v str,
    cluster: &'v str,
}

impl<'v> End<'v> {
    /// One that is known by what was told of it, if it was.
    fn told(workload: Option<&'v Workload>, namespace: &'v str, principal: &'v str) -> Self {
        let part = |part: fn(&Workload) -> &String, other| match workload.map(part) {
            Some(text) if !text.is_empty() => text.as_str(),
            _ => other,
        };
        Self {
            workload: part(|w| &w.name, UNKNOWN),
            namespace,
            principal,
            app: part(|w| &w.app, UNKNOWN),
            version: part(|w| &w.version, UNKNOWN),
            service: part(|w| &w.canonical_name, UNKNOWN),
            revision: part(|w| &w.canonical_revision, LATEST),
            cluster: part(|w| &w.cluster, UNKNOWN),
        }
    }

    fn source(self, values: &mut Values<'v>) {
        values.set(Tag::SourceWorkload, self.workload);
        values.set(Tag::SourceWorkloadNamespace, self.namespace);
        values.set(Tag::SourcePrincipal, self.principal);
        values.set(Tag::SourceApp, self.app);
        values.set(Tag::SourceVersion, self.version);
        values.set(Tag::SourceCanonicalService, self.service);
        values.set(Tag::SourceCanonicalRevision, self.revision);
        values.set(Tag::SourceCluster, self.cluster);
    }

    fn destination(self, values: &mut Values<'v>) {
        values.set(Tag::DestinationWorkload, self.workload);
        values.set(Tag::DestinationWorkloadNamespace, self.namespace);
        values.set(Tag::DestinationPrincipal, self.principal);
        values.set(Tag::DestinationApp, self.app);
        values.set(Tag::DestinationVersion, self.version);
        values.set(Tag::DestinationCanonicalService, self.service);
        values.set(Tag::DestinationCanonicalRevision, self.revision);
        values.set(Tag::DestinationCluster, self.cluster);
    }
}

/// What an endpoint's metadata says of its workload.
fn of_endpoint(metadata: &Metadata) -> Option<Workload> {
    Workload::of_endpoint(text(of_istio(metadata)?, "workload")?)
}

/// The namespace in a principal such as `spiffe://cluster.local/ns/shop/sa/web`.
fn namespace(principal: &str) -> Option<&str> {
    let (_, rest) = principal.split_once("/ns/")?;
    let namespace = rest.split('/').next()?;
    (!namespace.is_empty()).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_stands_in_a_principal() {
        for (principal, expected) in [
            ("spiffe://cluster.local/ns/shop/sa/web", Some("shop")),
            ("spiffe://cluster.local/ns/shop", Some("shop")),
            ("spiffe://cluster.local/ns//sa/web", None),
            ("spiffe://cluster.local", None),
            ("", None),
        ] {
            assert_eq!(namespace(principal), expected, "{principal}");
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ä".repeat(ISTIO_LABEL_BYTES);
        let mut values = Values([""; Tag::ALL.len()]);
        values.set(Tag::SourceApp, &long[..]);
        assert_eq!(values.of(Tag::SourceApp).len(), ISTIO_LABEL_BYTES / 2 * 2);
        let odd = format!("x{long}");
        values.set(Tag::SourceApp, &odd);
        assert_eq!(values.of(Tag::SourceApp).len(), ISTIO_LABEL_BYTES - 1);
    }
}
