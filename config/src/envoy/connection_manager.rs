//! Envoy's `HttpConnectionManager`.

use super::elsewhere::{self, Kind};
use super::listener::check_terminal;
use super::message::Message;
use super::{access_log, istio, protocol_options, rbac, route, wasm};
use crate::client_cert_details::{ClientCertDetail, ForwardClientCert};
use crate::error::Problem;
use crate::filter_chain::FilterChain;
use crate::http_filter::HttpFilter;
use crate::http_options::{Codec, EscapedSlashes, HttpOptions, ServerHeader};
use crate::native_filter::{Native, NativeFilter};
use crate::route::{RouteFilter, RouteFilters};
use crate::source::Spanned;

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const CORS: &str = "envoy.extensions.filters.http.cors.v3.Cors";
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

const REQUEST_ID: &str = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";

/// As much as Envoy takes.
const MAX_REQUEST_HEADERS_KB: u32 = 8192;

const CODECS: [(&str, i64, Codec); 3] = [
    ("AUTO", 0, Codec::Auto),
    ("HTTP1", 1, Codec::Http1),
    ("HTTP2", 2, Codec::Http2),
];

const SERVER_HEADERS: [(&str, i64, ServerHeader); 3] = [
    ("OVERWRITE", 0, ServerHeader::Overwrite),
    ("APPEND_IF_ABSENT", 1, ServerHeader::AppendIfAbsent),
    ("PASS_THROUGH", 2, ServerHeader::PassThrough),
];

const FORWARD_CLIENT_CERT: [(&str, i64, ForwardClientCert); 5] = [
    ("SANITIZE", 0, ForwardClientCert::Sanitize),
    ("FORWARD_ONLY", 1, ForwardClientCert::ForwardOnly),
    ("APPEND_FORWARD", 2, ForwardClientCert::AppendForward),
    ("SANITIZE_SET", 3, ForwardClientCert::SanitizeSet),
    (
        "ALWAYS_FORWARD_ONLY",
        4,
        ForwardClientCert::AlwaysForwardOnly,
    ),
];

const ESCAPED_SLASHES: [(&str, i64, EscapedSlashes); 5] = [
    (
        "IMPLEMENTATION_SPECIFIC_DEFAULT",
        0,
        EscapedSlashes::KeepUnchanged,
    ),
    ("KEEP_UNCHANGED", 1, EscapedSlashes::KeepUnchanged),
    ("REJECT_REQUEST", 2, EscapedSlashes::RejectRequest),
    (
        "UNESCAPE_AND_REDIRECT",
        3,
        EscapedSlashes::UnescapeAndRedirect,
    ),
    (
        "UNESCAPE_AND_FORWARD",
        4,
        EscapedSlashes::UnescapeAndForward,
    ),
];

/// Fills in `chain`.
pub(super) fn read(message: &Message<'_, '_>, chain: &mut FilterChain) {
    message.inert("stat_prefix");
    istio::begin_http(message, chain);
    request_id(message);
    chain.http = options(message);
    message.refuse("rds", "write the routes into `route_config`");
    tracing(message);
    match message.message("route_config") {
        Some(config) => route::configuration(&config, chain),
        None if message.node("rds").is_none() => message.missing("route_config"),
        None => {}
    }
    filters(message, chain);
    access_log::read(message, chain);
}

/// `tracing`: without a provider of its own, it makes no spans here.
fn tracing(message: &Message<'_, '_>) {
    let Some(tracing) = message.message("tracing") else {
        return;
    };
    let has_provider = tracing.node("provider").is_some();
    let at = message.span_of("tracing");
    tracing.close();
    let path = message.path_of("tracing");
    if has_provider {
        let help = "import the bootstrap, and write `tracing: { otlp: { endpoint: … } }` into \
                    Weir's own form";
        message.reader.outside(at, &path, Some(help.to_owned()));
    } else {
        let text = format!("{path} is passed over: it names no provider, and makes no spans");
        message.reader.warn(at, text);
    }
}

/// `request_id_extension`, which must be what there is.
fn request_id(message: &Message<'_, '_>) {
    let extension = message.message("request_id_extension");
    let Some(typed) = extension.as_ref().and_then(|e| e.typed("typed_config")) else {
        return;
    };
    if typed.name == REQUEST_ID {
        // Traces go their own way.
        typed.message.inert("pack_trace_reason");
        typed.message.inert("use_request_id_for_trace_sampling");
    } else {
        let what = format!("{}: the type `{}`", typed.message.path(), typed.name);
        message.reader.outside(typed.message.at(), &what, None);
        typed.message.close();
    }
}

fn options(message: &Message<'_, '_>) -> HttpOptions {
    let other = HttpOptions::envoy();
    let flag = |name, default: bool| message.flag(name).unwrap_or(default);
    let mut options = HttpOptions {
        codec: message.word("codec_type", &CODECS).unwrap_or(other.codec),
        max_request_headers_bytes: max_request_headers(message)
            .unwrap_or(other.max_request_headers_bytes),
        stream_idle_timeout: message.limit("stream_idle_timeout", other.stream_idle_timeout),
        request_timeout: message.limit("request_timeout", None),
        request_headers_timeout: message.limit("request_headers_timeout", None),
        delayed_close_timeout: message.limit("delayed_close_timeout", other.delayed_close_timeout),
        upgrades: upgrades(message),
        server_name: message.nonempty("server_name").unwrap_or(other.server_name),
        server_header: message
            .word("server_header_transformation", &SERVER_HEADERS)
            .unwrap_or(other.server_header),
        generate_request_id: flag("generate_request_id", other.generate_request_id),
        preserve_external_request_id: flag("preserve_external_request_id", false),
        use_remote_address: flag("use_remote_address", false),
        xff_num_trusted_hops: message
            .number::<u32>("xff_num_trusted_hops")
            .map_or(0, |hops| hops.value),
        skip_xff_append: flag("skip_xff_append", false),
        normalize_path: flag("normalize_path", false),
        merge_slashes: flag("merge_slashes", false),
        path_with_escaped_slashes_action: message
            .word("path_with_escaped_slashes_action", &ESCAPED_SLASHES)
            .unwrap_or(other.path_with_escaped_slashes_action),
        proxy_100_continue: flag("proxy_100_continue", false),
        append_x_forwarded_port: flag("append_x_forwarded_port", false),
        via: message.nonempty("via"),
        forward_client_cert_details: message
            .word("forward_client_cert_details", &FORWARD_CLIENT_CERT)
            .unwrap_or(other.forward_client_cert_details),
        set_current_client_cert_details: client_cert_details(message),
        ..HttpOptions::envoy()
    };
    protocol_options::downstream(message, &mut options);
    options
}

/// `set_current_client_cert_details`.
fn client_cert_details(message: &Message<'_, '_>) -> Vec<ClientCertDetail> {
    let Some(details) = message.message("set_current_client_cert_details") else {
        return Vec::new();
    };
    details.only("cert", false);
    details.only("chain", false);
    let wanted = [
        ("subject", ClientCertDetail::Subject),
        ("uri", ClientCertDetail::Uri),
        ("dns", ClientCertDetail::Dns),
    ];
    let wanted = wanted.into_iter();
    let wanted = wanted.filter(|(name, _)| details.flag(name).unwrap_or(false));
    wanted.map(|(_, detail)| detail).collect()
}

/// `max_request_headers_kb`, in bytes.
fn max_request_headers(message: &Message<'_, '_>) -> Option<usize> {
    let kb = message.number::<u32>("max_request_headers_kb")?;
    if !(1..=MAX_REQUEST_HEADERS_KB).contains(&kb.value) {
        let path = message.path_of("max_request_headers_kb");
        let text = format!("{path} is not between 1 and {MAX_REQUEST_HEADERS_KB}");
        message.reader.problem(Problem::new(kb.span, text));
        return None;
    }
    usize::try_from(kb.value << 10).ok()
}

/// `upgrade_configs`: those that are enabled, lower case.
fn upgrades(message: &Message<'_, '_>) -> Vec<String> {
    let mut upgrades = Vec::new();
    for upgrade in message.messages("upgrade_configs") {
        let kind = upgrade.required_text("upgrade_type").to_ascii_lowercase();
        if upgrade.flag("enabled").unwrap_or(true) {
            upgrades.push(kind);
        }
    }
    upgrades
}

/// `http_filters`, the last of which is the router.
fn filters(message: &Message<'_, '_>, chain: &mut FilterChain) {
    let filters = message.messages("http_filters");
    if filters.is_empty() {
        message.missing("http_filters");
    }
    let last = filters.len().saturating_sub(1);
    let mut cors = None;
    // What filters are called in Envoy, and here.
    let mut names: Vec<(String, String)> = Vec::new();
    for (index, filter) in filters.into_iter().enumerate() {
        let name = filter.required_text("name");
        filter.only("is_optional", false);
        // What could enable it for a route is refused.
        let disabled = filter.flag("disabled").unwrap_or(false);
        let Some(typed) = filter.typed("typed_config") else {
            if filter.node("typed_config").is_none() {
                filter.missing("typed_config");
            }
            continue;
        };
        if disabled && typed.name != ROUTER {
            typed.message.close();
            continue;
        }
        match typed.name.as_str() {
            ROUTER => {
                check_terminal(&filter, &name, true, index == last);
                chain.http.envoy_headers = !router_suppresses_headers(&typed.message);
            }
            WASM => {
                check_terminal(&filter, &name, false, index == last);
                if let Some(wasm) = wasm::plugin(&typed.message) {
                    let mut name = name;
                    let given = name.value.clone();
                    let native = &chain.native_filters;
                    name.value = wasm::unique(&name.value, &chain.http_filters, native);
                    names.push((given, name.value.clone()));
                    chain.http_filters.push(HttpFilter::new(name, wasm));
                }
            }
            CORS | rbac::HTTP => {
                check_terminal(&filter, &name, false, index == last);
                let mut name = name;
                let given = name.value.clone();
                let (filters, native) = (&chain.http_filters, &chain.native_filters);
                name.value = wasm::unique(&name.value, filters, native);
                names.push((given.clone(), name.value.clone()));
                let kind = if typed.name == CORS {
                    cors = Some(given);
                    Native::Cors
                } else {
                    Native::Rbac(Box::new(rbac::http(typed.message)))
                };
                chain.native_filters.push(NativeFilter {
                    name,
                    place: chain.http_filters.len(),
                    kind,
                });
            }
            istio::STATS | istio::PEER_METADATA => {
                check_terminal(&filter, &name, false, index == last);
                istio::http_filter(&filter, typed, chain);
            }
            _ => elsewhere::note(Kind::HttpFilter, &filter, &name, Some(typed)),
        }
    }
    // In front of all others, its place goes without saying.
    let is_first = |f: &NativeFilter| f.kind == Native::Cors && f.place == 0;
    if chain.native_filters.first().is_some_and(is_first) {
        chain.native_filters.remove(0);
    }
    for host in &mut chain.virtual_hosts {
        let of_routes = host.routes.iter_mut().map(|route| &mut route.filters);
        for filters in of_routes.chain([&mut host.filters]) {
            let off = filters
                .0
                .iter()
                .find(|f| Some(&f.name.value) == cors.as_ref());
            if let Some(off) = off {
                let what = format!("switching `{}` off for a route", off.name.value);
                let why = "pages of other origins could read responses; give the route a policy";
                message.reader.never(off.name.span, &what, why);
            }
            rename(filters, &names);
        }
    }
    if cors.is_none() {
        // Without the filter, its policies say nothing.
        for host in &mut chain.virtual_hosts {
            host.cors = None;
            host.routes.iter_mut().for_each(|route| route.cors = None);
        }
    }
}

/// Settings of filters by the names that these have here; those of filters that there
/// are not say nothing, as in Envoy.
fn rename(filters: &mut RouteFilters, names: &[(String, String)]) {
    let renamed = |filter: RouteFilter| {
        let same = names
            .iter()
            .filter(|(given, _)| *given == filter.name.value);
        let renamed = same.map(|(_, here)| RouteFilter {
            name: Spanned::new(here.clone(), filter.name.span),
            setting: filter.setting.clone(),
        });
        renamed.collect::<Vec<_>>()
    };
    filters.0 = filters.0.drain(..).flat_map(renamed).collect();
}

fn router_suppresses_headers(router: &Message<'_, '_>) -> bool {
    router.inert("dynamic_stats");
    router.inert("suppress_grpc_request_failure_code_stats");
    router.only("start_child_span", false);
    router.only("respect_expected_rq_timeout", false);
    router.flag("suppress_envoy_headers").unwrap_or(false)
}
