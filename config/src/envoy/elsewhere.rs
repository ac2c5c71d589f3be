//! What there is in Envoy and in Istio, and not in Weir: what becomes of each.
//!
//! Istio's control plane puts filters and loggers into every listener that only observe;
//! without them everything is served as with them, and so they are passed over, with a
//! warning, whatever the leniency. What decides what is served is refused by its name.
//! What is in no list is refused, or passed over where that is asked for.

use super::message::Message;
use super::security;
use super::typed::Typed;

/// Where an extension stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    HttpFilter,
    NetworkFilter,
    ListenerFilter,
    AccessLogger,
    BootstrapExtension,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::HttpFilter => "the HTTP filter",
            Self::NetworkFilter => "the network filter",
            Self::ListenerFilter => "the listener filter",
            Self::AccessLogger => "the access logger",
            Self::BootstrapExtension => "the bootstrap extension",
        }
    }
}

/// What becomes of an extension.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is passed over: what is lost by it.
    PassedOver(&'static str),
    /// The same, as long as it says nothing: what it would do otherwise.
    IfEmpty(&'static str),
    /// It is refused: why.
    Refused(&'static str),
}

use Fate::{IfEmpty, PassedOver, Refused};
use Kind::{AccessLogger, BootstrapExtension, HttpFilter, ListenerFilter, NetworkFilter};

const NO_METRICS: &str = "its metrics are not there; Weir has its own";
const NO_PEERS: &str =
    "connections do not tell of their workloads: an endpoint's metadata does, others are unknown";
const NO_LOG: &str = "nothing is sent there";
const OPEN: &str = "what it turns away would come in";
const OTHER: &str = "what is served would be something else";

/// By kind and type; the documentation repeats it.
#[rustfmt::skip]
const TABLE: [(Kind, &str, Fate); 44] = [
    (HttpFilter, "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", PassedOver(NO_METRICS)),
    (HttpFilter, "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig", PassedOver("where the ALPN of a cluster has `istio`, requests to it offer what the filter says by default")),
    (HttpFilter, "istio.envoy.config.filter.http.alpn.v2.FilterConfig", PassedOver("where the ALPN of a cluster has `istio`, requests to it offer what the filter says by default")),
    (HttpFilter, "istio.envoy.config.filter.http.authn.v2alpha1.FilterConfig", PassedOver("it tells of tokens that `jwt_authn` has checked, which is refused")),
    (HttpFilter, "envoy.extensions.filters.http.fault.v3.HTTPFault", IfEmpty("requests would not fail as they are to")),
    (HttpFilter, "envoy.extensions.filters.http.stateful_session.v3.StatefulSession", IfEmpty("sessions would not stay at their endpoint")),
    (HttpFilter, "io.istio.http.connect_authority.Config", Refused(OTHER)),
    (HttpFilter, "envoy.extensions.filters.http.set_filter_state.v3.Config", Refused("policies and clusters may depend on what it sets")),
    (HttpFilter, "envoy.extensions.filters.http.set_metadata.v3.Config", Refused("policies may depend on what it sets")),
    (HttpFilter, "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.basic_auth.v3.BasicAuth", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.oauth2.v3.OAuth2", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.csrf.v3.CsrfPolicy", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.ratelimit.v3.RateLimit", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", Refused(OPEN)),
    (HttpFilter, "envoy.extensions.filters.http.lua.v3.Lua", Refused("nobody knows what its script turns away or changes: a `Wasm` filter can do the same")),
    (HttpFilter, "envoy.extensions.filters.http.golang.v3alpha.Config", Refused("nobody knows what its code turns away or changes: a `Wasm` filter can do the same")),
    (HttpFilter, "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation", Refused(OTHER)),
    (HttpFilter, "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", Refused(OTHER)),
    (HttpFilter, "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder", Refused(OTHER)),
    (HttpFilter, "envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig", Refused("endpoints would get no tokens")),
    (HttpFilter, "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector", Refused("endpoints would get no credentials")),
    (HttpFilter, "envoy.extensions.filters.http.composite.v3.Composite", Refused(OTHER)),
    (NetworkFilter, "envoy.tcp.metadataexchange.config.MetadataExchange", PassedOver(NO_PEERS)),
    (NetworkFilter, "io.istio.network.authn.Config", PassedOver("the certificate of a peer says the same; policies that ask for what it sets are refused")),
    (NetworkFilter, "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz", Refused(OPEN)),
    (NetworkFilter, "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit", Refused(OPEN)),
    (NetworkFilter, "envoy.extensions.filters.network.ratelimit.v3.RateLimit", Refused(OPEN)),
    (NetworkFilter, "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit", Refused("more would come in: listeners have `max_connections` in Weir's own form")),
    (NetworkFilter, "envoy.extensions.filters.network.sni_cluster.v3.SniCluster", Refused(OTHER)),
    (NetworkFilter, "istio.tcp_cluster_rewrite.v2alpha1.TcpClusterRewrite", Refused(OTHER)),
    (NetworkFilter, "envoy.extensions.filters.network.set_filter_state.v3.Config", Refused("policies and clusters may depend on what it sets")),
    (ListenerFilter, "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit", Refused(OPEN)),
    (ListenerFilter, "io.istio.tcp.set_internal_dst_address.Config", Refused(OTHER)),
    (AccessLogger, "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig", PassedOver(NO_LOG)),
    (AccessLogger, "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig", PassedOver(NO_LOG)),
    (AccessLogger, "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig", PassedOver(NO_LOG)),
    (AccessLogger, "envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig", PassedOver(NO_LOG)),
    (BootstrapExtension, "envoy.extensions.bootstrap.internal_listener.v3.InternalListener", PassedOver("there are no internal listeners, and addresses of them are refused")),
    (BootstrapExtension, "envoy.extensions.wasm.v3.WasmService", Refused("the service would not run")),
    (BootstrapExtension, "envoy.extensions.bootstrap.reverse_tunnel.upstream_socket_interface.v3.UpstreamReverseConnectionSocketInterface", Refused(OTHER)),
];

/// Deals with an extension, at `at`, that Weir does not have.
pub(super) fn note(kind: Kind, at: &Message<'_, '_>, name: &str, typed: Option<Typed<'_, '_>>) {
    let given = typed.as_ref().map_or("", |typed| typed.name.as_str());
    let path = at.path();
    let what = match given {
        "" => format!("{path}: {} `{name}`", kind.words()),
        given => format!("{path}: {} `{name}` ({given})", kind.words()),
    };
    let mut known = TABLE.iter();
    let known = known.find(|(of, known, _)| *of == kind && *known == given);
    let is_empty = typed.as_ref().is_some_and(|t| !t.message.has_unknown());
    match known.map(|(.., fate)| *fate) {
        Some(PassedOver(lost)) => warn(at, &what, lost),
        Some(IfEmpty(_)) if is_empty => warn(at, &what, "it says nothing"),
        Some(IfEmpty(why) | Refused(why)) => at.reader.never(at.at(), &what, why),
        None => security::outside(at, &what, name, given),
    }
    if let Some(typed) = typed {
        typed.message.close();
    }
}

/// What a route says of an HTTP filter that Weir does not have: why it must not be passed
/// over, if it must not.
pub(super) fn of_route(given: &str) -> Option<&'static str> {
    let mut known = TABLE.iter().filter(|(kind, ..)| *kind == HttpFilter);
    let (.., fate) = known.find(|(_, known, _)| {
        let package = known
            .rsplit_once('.')
            .map_or(*known, |(package, _)| package);
        given.rsplit_once('.').is_some_and(|(of, _)| of == package)
    })?;
    match fate {
        PassedOver(_) => None,
        IfEmpty(why) | Refused(why) => Some(*why),
    }
}

fn warn(at: &Message<'_, '_>, what: &str, lost: &str) {
    let message = format!("{what} is passed over: {lost}");
    at.reader.warn(at.at(), message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_tells_of_all() {
        let docs = include_str!("../../../docs/envoy.md");
        for (kind, name, _) in &TABLE {
            assert!(docs.contains(&format!("`{name}`")), "{kind:?}: {name}");
        }
    }

    #[test]
    fn each_extension_stands_there_once() {
        for (place, (kind, name, _)) in TABLE.iter().enumerate() {
            let mut others = TABLE[..place].iter();
            assert!(!others.any(|(of, other, _)| (of, other) == (kind, name)));
        }
    }
}
