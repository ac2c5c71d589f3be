//! [`ResourceType`]: what there is to subscribe to.

use std::fmt;

/// A type of resources, in the order in which requests for them go out: clusters come
/// before what routes to them, so that nothing is ever routed to a cluster that is not
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// CDS: `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// EDS: `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    Endpoints,
    /// LDS: `envoy.config.listener.v3.Listener`.
    Listener,
    /// RDS: `envoy.config.route.v3.RouteConfiguration`.
    Routes,
    /// SDS: `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
    /// ECDS: `envoy.config.core.v3.TypedExtensionConfig`.
    Extension,
}

/// What is known of a type.
struct Facts {
    url: &'static str,
    noun: &'static str,
    abbreviation: &'static str,
    methods: [&'static str; 2],
}

const FACTS: [Facts; 6] = [
    Facts {
        url: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        noun: "cluster",
        abbreviation: "cds",
        methods: [
            "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
            "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
        ],
    },
    Facts {
        url: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        noun: "endpoints",
        abbreviation: "eds",
        methods: [
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints",
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
        ],
    },
    Facts {
        url: "type.googleapis.com/envoy.config.listener.v3.Listener",
        noun: "listener",
        abbreviation: "lds",
        methods: [
            "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
            "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
        ],
    },
    Facts {
        url: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        noun: "route configuration",
        abbreviation: "rds",
        methods: [
            "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
            "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes",
        ],
    },
    Facts {
        url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        noun: "secret",
        abbreviation: "sds",
        methods: [
            "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
            "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
        ],
    },
    Facts {
        url: "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        noun: "extension",
        abbreviation: "ecds",
        methods: [
            "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/StreamExtensionConfigs",
            "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs",
        ],
    },
];

impl ResourceType {
    /// All of them, in their order.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Listener,
        Self::Routes,
        Self::Secret,
        Self::Extension,
    ];

    /// Its place in [`Self::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    fn facts(self) -> &'static Facts {
        &FACTS[self.index()]
    }

    /// The type URL of its messages.
    pub fn url(self) -> &'static str {
        self.facts().url
    }

    /// The type with this URL, if it is one of these.
    pub fn of_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }

    /// What its service is called for short, such as `cds`.
    pub fn abbreviation(self) -> &'static str {
        self.facts().abbreviation
    }

    /// Whether one can subscribe to all resources of the type. Of these, a
    /// state-of-the-world response has all that there are: what is not in it is gone.
    pub fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    /// The path of the service that has this type only.
    pub(crate) fn state_of_the_world_method(self) -> &'static str {
        self.facts().methods[0]
    }

    /// See [`Self::state_of_the_world_method`].
    pub(crate) fn delta_method(self) -> &'static str {
        self.facts().methods[1]
    }
}

/// What a person calls one resource of the type.
impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().noun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_their_urls() {
        for (place, kind) in ResourceType::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), place);
            assert_eq!(ResourceType::of_url(kind.url()), Some(kind));
        }
        assert_eq!(ResourceType::of_url("type.googleapis.com/istio.x"), None);
    }
}
