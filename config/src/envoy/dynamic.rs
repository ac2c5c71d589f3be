//! Envoy's `dynamic_resources`: what a management server adds to a bootstrap.

use std::time::Duration;

use super::Leniency;
use super::message::Message;
use crate::error::Problem;
use crate::source::Spanned;

/// Envoy's `initial_fetch_timeout`.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// `dynamic_resources`: what comes from a management server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicResources {
    /// The static cluster that the server is in.
    pub cluster: Spanned<String>,
    /// Whether responses have what has changed, and not all there is.
    pub delta: bool,
    /// Headers of each stream's request, lower case.
    pub headers: Vec<(String, String)>,
    /// Whether there are listeners (LDS).
    pub listeners: bool,
    /// Whether there are clusters (CDS).
    pub clusters: bool,
    /// How long the start waits for them.
    pub fetch_timeout: Duration,
    /// What becomes of what Weir does not have.
    pub leniency: Leniency,
}

/// Where a resource comes from: Envoy's `ConfigSource`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ConfigSource {
    Ads,
    Other,
}

/// `dynamic_resources` of a bootstrap; `None` for what cannot be used.
pub(super) fn read(message: &Message<'_, '_>) -> Option<DynamicResources> {
    let mut fetch_timeout = Duration::ZERO;
    let mut wanted = |name| {
        let source = message.message(name)?;
        let timeout = source.limit("initial_fetch_timeout", Some(FETCH_TIMEOUT));
        fetch_timeout = fetch_timeout.max(timeout.unwrap_or(Duration::MAX));
        Some(config_source(&source) == ConfigSource::Ads)
    };
    let listeners = wanted("lds_config").unwrap_or(false);
    let clusters = wanted("cds_config").unwrap_or(false);
    for field in ["lds_resources_locator", "cds_resources_locator"] {
        message.refuse(
            field,
            "there are no collections: write `lds_config`, `cds_config`",
        );
    }
    let Some(ads) = message.message("ads_config") else {
        message.missing("ads_config");
        return None;
    };
    let delta = match ads.text("api_type")?.as_str() {
        "GRPC" | "2" => false,
        "DELTA_GRPC" | "3" => true,
        other => {
            let path = ads.path_of("api_type");
            let help = "supported: `GRPC` and `DELTA_GRPC`".to_owned();
            let what = format!("{path}: {other}");
            ads.reader
                .outside(ads.span_of("api_type"), &what, Some(help));
            return None;
        }
    };
    ads.word("transport_api_version", &[("V3", 2, ())]);
    ads.inert("set_node_on_first_message_only");
    ads.inert("rate_limit_settings");
    ads.inert("request_timeout");
    let services = ads.messages("grpc_services");
    let [service] = services.as_slice() else {
        let text = format!("{} is to have one service", ads.path_of("grpc_services"));
        let problem = Problem::new(ads.span_of("grpc_services"), text);
        ads.reader
            .problem(problem.help("Weir knows no second server to fall back to"));
        return None;
    };
    service.inert("timeout");
    service.refuse("google_grpc", "write `envoy_grpc: { cluster_name: … }`");
    service.refuse("retry_policy", "");
    let mut headers = Vec::new();
    for header in service.messages("initial_metadata") {
        let name = header.required_text("key").value.to_ascii_lowercase();
        headers.push((name, header.nonempty("value").unwrap_or_default()));
    }
    let Some(grpc) = service.message("envoy_grpc") else {
        if service.node("google_grpc").is_none() {
            service.missing("envoy_grpc");
        }
        return None;
    };
    grpc.refuse("authority", "");
    grpc.inert("max_receive_message_length");
    Some(DynamicResources {
        cluster: grpc.required_text("cluster_name"),
        delta,
        headers,
        listeners,
        clusters,
        fetch_timeout,
        leniency: message.reader.leniency(),
    })
}

/// Refuses resources that do not come by ADS.
pub(super) fn only_ads(source: &Message<'_, '_>) {
    source.inert("initial_fetch_timeout");
    config_source(source);
}

/// Where it says that resources come from; refuses what is not ADS.
fn config_source(source: &Message<'_, '_>) -> ConfigSource {
    source.word("resource_api_version", &[("AUTO", 0, ()), ("V3", 2, ())]);
    if let Some(ads) = source.message("ads") {
        drop(ads);
        return ConfigSource::Ads;
    }
    for field in ["path", "path_config_source", "api_config_source", "self"] {
        source.refuse(field, "resources come by `ads`");
    }
    ConfigSource::Other
}
