//! A filter chain as configured.

use std::sync::Arc;

use weir_config::{
    FilterChain, FilterChainMatch, HeaderMutations, HttpOptions, NativeFilter, VirtualHost,
};

use crate::rbac::Rbac;
use crate::rollout::{Place, RolloutSpec};
use crate::route::RouteTable;
use crate::stream::Facts;
use crate::tcp::TcpProxy;
use crate::telemetry::RbacScope;
use crate::tls::DownstreamTls;

/// What becomes of the connections that a filter chain is for.
pub(crate) struct ChainSpec {
    /// What its filters are known by: the listener's name, and its own behind that
    /// where the listener has several.
    pub(crate) label: String,
    pub(crate) terms: Terms,
    /// The filters.
    pub(crate) filters: Vec<FilterSpec>,
    /// Those of Weir's own between them: of requests, or of connections with `tcp`.
    pub(crate) gates: Vec<GateSpec>,
    /// Those that connections of HTTP pass before they are served.
    pub(crate) entry: Vec<GateSpec>,
    /// What both are made of.
    pub(crate) native: Vec<NativeFilter>,
    /// For each of the table's chains, which filters it has.
    pub(crate) of_routes: Vec<RouteChainSpec>,
    pub(crate) routes: Arc<RouteTable>,
    /// What `routes` is made of.
    pub(crate) hosts: Vec<VirtualHost>,
    pub(crate) headers: HeaderMutations,
    pub(crate) facts: Arc<Facts>,
    /// In place of HTTP.
    pub(crate) tcp: Option<TcpProxy>,
    pub(crate) istio: weir_config::Istio,
    pub(crate) access_log: Vec<weir_config::AccessLog>,
    /// Plugins that log.
    pub(crate) access_loggers: Vec<Place>,
}

/// What makes a filter chain the same one in another generation of its listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainKey {
    name: String,
    matches: FilterChainMatch,
    is_default: bool,
}

impl ChainKey {
    pub(super) fn of(listener: &weir_config::Listener, chain: &FilterChain) -> Self {
        let default = listener.default_chain();
        Self {
            name: chain.name.value.clone(),
            matches: chain.matches.clone(),
            is_default: default.is_some_and(|default| std::ptr::eq(default, chain)),
        }
    }
}

/// What connections have begun with.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) key: ChainKey,
    pub(crate) http: Arc<HttpOptions>,
    pub(crate) is_tcp: bool,
    pub(crate) tls: Option<Arc<DownstreamTls>>,
}

impl Terms {
    /// Whether connections that began with these can go on here.
    pub(crate) fn goes_on_from(&self, before: &Self) -> bool {
        let asks_the_same = match (&self.tls, &before.tls) {
            (Some(now), Some(before)) => now.asks_the_same(before),
            (now, before) => now.is_none() && before.is_none(),
        };
        self.key == before.key
            && self.is_tcp == before.is_tcp
            && *self.http == *before.http
            && asks_the_same
    }
}

/// A filter of a chain.
pub(crate) struct FilterSpec {
    pub(crate) place: Place,
    /// Its other version, if there is one.
    pub(crate) rollout: Option<RolloutSpec>,
}

/// A filter of Weir's own.
pub(crate) struct GateSpec {
    /// How many filters of the chain stand in front of it.
    pub(crate) place: usize,
    /// Its policies, and what their numbers are named after; without, it is the place
    /// for CORS.
    pub(crate) rbac: Option<(Arc<Rbac>, RbacScope)>,
}

/// The filters that a route has.
#[derive(Default)]
pub(crate) struct RouteChainSpec {
    pub(crate) filters: Vec<RouteFilterSpec>,
    pub(crate) gates: Vec<GateSpec>,
}

/// A filter of a route's chain.
pub(crate) enum RouteFilterSpec {
    /// The one at this place of the filter chain, with its other version.
    Same(usize),
    /// It is configured otherwise, for which there is one version.
    Configured(Place),
}

/// What the filters of a listener's chains are known by, each by another.
pub(super) fn labels(listener: &weir_config::Listener) -> Vec<String> {
    if listener.only_chain().is_some() {
        return vec![listener.name.value.clone()];
    }
    let mut labels: Vec<String> = Vec::new();
    for (place, chain) in listener.chains().enumerate() {
        let label = |own: &str| format!("{}/{own}", listener.name.value);
        let named = Some(label(&chain.name)).filter(|_| !chain.name.is_empty());
        let numbers = (place + 1..).map(|number| label(&number.to_string()));
        let is_free = |new: &String| !labels.contains(new);
        let free = named.into_iter().chain(numbers).find(is_free);
        labels.extend(free);
    }
    labels
}
