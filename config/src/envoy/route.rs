//! Envoy's `config.route.v3`: route configurations, virtual hosts, routes.

use super::message::Message;
use super::reader::Reader;
use super::{cors, hash_policy, header_mutation, retry, route_match, security};
use crate::any::Base64;
use crate::filter_chain::FilterChain;
use crate::listener::Listener;
use crate::read::FromYaml;
use crate::route::{
    Connect, Destination, DirectResponse, Forward, HostRewrite, PathMatch, PathRewrite, Redirect,
    RedirectCode, RedirectPath, RegexRewrite, Route, RouteAction, WeightedCluster,
    check_host_or_path, check_name, check_regex, check_status, check_template_rewrite,
    check_weights,
};
use crate::source::Spanned;
use crate::virtual_host::{VirtualHost, check_domain};

const ACTIONS: [&str; 3] = ["route", "redirect", "direct_response"];

/// Of `path_rewrite_policy`.
const TEMPLATE_REWRITE: &str =
    "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig";

/// Why no condition is passed over.
const CONDITION: &str = "`--lenient` passes over no condition: the route would take requests \
                         that are not for it, or leave them to another";

const CODES: [(&str, i64, RedirectCode); 5] = [
    ("MOVED_PERMANENTLY", 0, RedirectCode::MovedPermanently),
    ("FOUND", 1, RedirectCode::Found),
    ("SEE_OTHER", 2, RedirectCode::SeeOther),
    ("TEMPORARY_REDIRECT", 3, RedirectCode::TemporaryRedirect),
    ("PERMANENT_REDIRECT", 4, RedirectCode::PermanentRedirect),
];

/// `RouteConfiguration`: fills in what `chain` has of it.
pub(super) fn configuration(message: &Message<'_, '_>, chain: &mut FilterChain) {
    message.inert("name");
    let per_filter = security::per_route(message);
    if message.reader.is_resource() {
        // Clusters come and go by themselves.
        message.inert("validate_clusters");
    } else {
        message.only("validate_clusters", true);
    }
    message.only("most_specific_header_mutations_wins", false);
    // Answers have any size.
    message.inert("max_direct_response_body_size_bytes");
    let ignores_port = message.flag("ignore_port_in_host_matching");
    chain.http.ignore_port_in_host_matching = ignores_port.unwrap_or(false);
    let hosts = message.messages("virtual_hosts");
    chain.headers = header_mutation::read(message);
    chain.virtual_hosts = hosts.iter().map(virtual_host).collect();
    let mirrors = cors::mirrors(message);
    for host in &mut chain.virtual_hosts {
        host.cors = host.cors.take().or_else(|| per_filter.cors.clone());
        let said = |name: &str| host.filters.0.iter().any(|f| f.name.value == name);
        let more = per_filter.filters.0.iter();
        let more: Vec<_> = more.filter(|f| !said(&f.name)).cloned().collect();
        host.filters.0.extend(more);
        if let Some(mirrors) = &mirrors
            && host.request_mirror_policies.is_empty()
        {
            host.request_mirror_policies.clone_from(mirrors);
        }
    }
}

fn virtual_host(message: &Message<'_, '_>) -> VirtualHost {
    security::require_tls(message);
    let per_filter = security::per_route(message);
    let domains = message.texts("domains");
    if domains.is_empty() {
        message.missing("domains");
    }
    for domain in &domains {
        let path = message.path_of("domains");
        message
            .reader
            .native(&path, |problems| check_domain(domain, problems));
    }
    let routes = message.messages("routes");
    VirtualHost {
        name: message.required_text("name"),
        domains,
        routes: routes.iter().filter_map(route).collect(),
        metadata: message.metadata("metadata"),
        retry_policy: retry::read(message, request_buffer_limit(message)),
        request_mirror_policies: cors::mirrors(message).unwrap_or_default(),
        cors: per_filter.cors,
        include_request_attempt_count: message
            .flag("include_request_attempt_count")
            .unwrap_or(false),
        include_attempt_count_in_response: message
            .flag("include_attempt_count_in_response")
            .unwrap_or(false),
        filters: per_filter.filters,
        headers: header_mutation::read(message),
    }
}

/// `None` if it cannot be had, which has been noted. Nothing takes the place of
/// a condition that is not known; one whose action is not known takes its
/// requests all the same, or another route would get them.
fn route(message: &Message<'_, '_>) -> Option<Route> {
    message.inert("stat_prefix");
    // Of spans, which go their own way.
    message.inert("decorator");
    message.inert("tracing");
    let name = message.nonempty("name").unwrap_or_default();
    let metadata = message.metadata("metadata");
    let request_buffer_limit = request_buffer_limit(message);
    let headers = header_mutation::read(message);
    let per_filter = security::per_route(message);
    let matches = message.reader.guarded(CONDITION, || {
        let Some(condition) = message.message("match") else {
            message.missing("match");
            return None;
        };
        route_match::read(&condition)
    });
    let mut action = action(message, request_buffer_limit);
    if let (Some(RouteAction::Forward(forward)), Some(matches)) = (&action, &matches)
        && forward.connect.is_some()
        && matches.path.value != PathMatch::Connect
    {
        let what = format!("{}: CONNECT without a `connect_matcher`", message.path());
        message.reader.outside(message.at(), &what, None);
        action = None;
    }
    if let (Some(action), Some(matches)) = (&action, &matches)
        && let Some(problem) = check_template_rewrite(matches, action, message.at())
    {
        message.reader.problem(problem);
    }
    let action = action.unwrap_or_else(|| {
        let text = format!("{} answers with 503", message.path());
        message.reader.consequence(message.at(), text);
        unavailable()
    });
    Some(Route {
        name,
        matches: matches?,
        action,
        metadata,
        buffer_limit: None,
        max_request_bytes: None,
        cors: per_filter.cors,
        filters: per_filter.filters,
        headers,
    })
}

/// `per_request_buffer_limit_bytes`: bytes of a request that are kept to be sent again.
fn request_buffer_limit(message: &Message<'_, '_>) -> Option<usize> {
    let limit = message.number::<u32>("per_request_buffer_limit_bytes")?;
    usize::try_from(limit.value).ok()
}

/// What takes the place of an action that is not known.
fn unavailable() -> RouteAction {
    RouteAction::DirectResponse(DirectResponse {
        status: 503,
        body: Vec::new(),
    })
}

/// Routes to one of `missing`, clusters that were passed over, become answers.
pub(super) fn close_ways(reader: &Reader, missing: &[String], listeners: &mut [Listener]) {
    let hosts = listeners.iter_mut().flat_map(Listener::chains_mut);
    let hosts = hosts.flat_map(|chain| &mut chain.virtual_hosts);
    for route in hosts.flat_map(|host| &mut host.routes) {
        let gone = route.clusters().find(|c| missing.contains(&c.value));
        if let Some(cluster) = gone.cloned() {
            let text = format!("the route to `{cluster}`, which is passed over, answers with 503");
            reader.consequence(cluster.span, text);
            route.action = unavailable();
        }
    }
}

fn action(message: &Message<'_, '_>, request_buffer_limit: Option<usize>) -> Option<RouteAction> {
    let Some(chosen) = message.one_of(&ACTIONS) else {
        if !message.has_unknown() {
            message.missing("route");
        }
        return None;
    };
    let action = message.message(chosen)?;
    match chosen {
        "route" => forward(&action, request_buffer_limit).map(RouteAction::Forward),
        "redirect" => Some(RouteAction::Redirect(redirect(&action))),
        _ => direct_response(&action).map(RouteAction::DirectResponse),
    }
}

fn forward(action: &Message<'_, '_>, request_buffer_limit: Option<usize>) -> Option<Forward> {
    let destination = destination(action)?;
    action.word("priority", &[("DEFAULT", 0, ())]);
    action.only("append_x_forwarded_host", false);
    let mut forward = Forward::to(destination);
    forward.retry_policy = retry::read(action, request_buffer_limit).map(Box::new);
    if let Some(timeout) = action.duration("timeout") {
        forward.timeout = timeout.value;
    }
    forward.request_mirror_policies = cors::mirrors(action);
    if let Some(limits) = action.message("max_stream_duration") {
        let limit = limits.duration("max_stream_duration");
        forward.max_stream_duration = limit.map_or(forward.max_stream_duration, |l| l.value);
        // Who says in `grpc-timeout` how long it waits, waits no longer itself.
        limits.inert("grpc_timeout_header_max");
        limits.inert("grpc_timeout_header_offset");
    }
    forward.idle_timeout = action.duration("idle_timeout").map(|timeout| timeout.value);
    forward.path_rewrite = path_rewrite(action);
    forward.connect = connect(action);
    forward.hash_policy = hash_policy::read(action);
    action.one_of(&[
        "host_rewrite_literal",
        "host_rewrite_header",
        "auto_host_rewrite",
    ]);
    forward.host_rewrite = host_or_path(action, "host_rewrite_literal")
        .map(HostRewrite::Literal)
        .or_else(|| {
            action
                .nonempty("host_rewrite_header")
                .map(HostRewrite::Header)
        })
        .or_else(|| {
            let auto = action.flag("auto_host_rewrite").unwrap_or(false);
            auto.then_some(HostRewrite::Auto)
        });
    Some(forward)
}

/// Which of the clusters; `None` if it cannot be had.
fn destination(action: &Message<'_, '_>) -> Option<Destination> {
    match action.one_of(&["cluster", "weighted_clusters", "cluster_header"]) {
        Some("cluster") => action.text("cluster").map(Destination::Cluster),
        Some("cluster_header") => {
            let name = action.required_text("cluster_header");
            let path = action.path_of("cluster_header");
            if !name.starts_with(':') {
                action
                    .reader
                    .native(&path, |problems| check_name(&name, problems));
            }
            Some(Destination::Header(name.to_ascii_lowercase()))
        }
        Some(_) => {
            let weighted = action.message("weighted_clusters")?;
            weighted.inert("runtime_key_prefix");
            // It is the sum anyway.
            weighted.inert("total_weight");
            let clusters = weighted.messages("clusters");
            let clusters = clusters.iter().map(weighted_cluster).collect();
            let clusters = Spanned::new(clusters, weighted.span_of("clusters"));
            let path = weighted.path_of("clusters");
            weighted
                .reader
                .native(&path, |problems| check_weights(&clusters, problems));
            Some(Destination::Weighted(clusters.value))
        }
        None => {
            action.one_of(&["timeout", "prefix_rewrite"]);
            if !action.has_unknown() {
                action.missing("cluster");
            }
            None
        }
    }
}

fn weighted_cluster(message: &Message<'_, '_>) -> WeightedCluster {
    if !security::per_route(message).is_empty() {
        let what = format!("{}: filters of a weighted cluster", message.path());
        message.reader.outside(message.at(), &what, None);
    }
    WeightedCluster {
        name: message.required_text("name"),
        weight: message.number::<u32>("weight").map_or(0, |w| w.value),
        headers: header_mutation::read(message),
    }
}

/// `upgrade_configs`, of which CONNECT is read.
fn connect(action: &Message<'_, '_>) -> Option<Connect> {
    let mut connect = None;
    for upgrade in action.messages("upgrade_configs") {
        let kind = upgrade.required_text("upgrade_type");
        let enabled = upgrade.flag("enabled").unwrap_or(true);
        if !kind.eq_ignore_ascii_case("connect") || !enabled {
            let what = if enabled {
                "the upgrade"
            } else {
                "switching off the upgrade"
            };
            let what = format!("{}: {what} `{kind}` of a single route", upgrade.path());
            let help = "the `upgrade_configs` of the connection manager hold for all routes";
            let help = Some(help.to_owned());
            upgrade.reader.outside(upgrade.at(), &what, help);
            upgrade.close();
            continue;
        }
        connect = Some(match upgrade.message("connect_config") {
            Some(config) => {
                config.only("allow_post", false);
                Connect::Terminate
            }
            None => Connect::PassOn,
        });
    }
    connect
}

fn path_rewrite(action: &Message<'_, '_>) -> Option<PathRewrite> {
    match action.one_of(&["prefix_rewrite", "regex_rewrite", "path_rewrite_policy"])? {
        "path_rewrite_policy" => {
            let policy = action.message("path_rewrite_policy")?;
            policy.inert("name");
            let typed = policy.typed("typed_config")?;
            if typed.name != TEMPLATE_REWRITE {
                let what = format!("{}: {}", policy.path(), typed.name);
                policy.reader.outside(policy.at(), &what, None);
                typed.message.close();
                return None;
            }
            let rewrite = typed.message.required_text("path_template_rewrite");
            Some(PathRewrite::Template(rewrite))
        }
        "prefix_rewrite" => host_or_path(action, "prefix_rewrite").map(PathRewrite::Prefix),
        _ => {
            let rewrite = action.message("regex_rewrite")?;
            let Some(pattern) = rewrite.message("pattern") else {
                rewrite.missing("pattern");
                return None;
            };
            pattern.inert("google_re2");
            let regex = pattern.required_text("regex");
            let path = pattern.path_of("regex");
            pattern.reader.native(&path, |problems| {
                check_regex(&regex.value, regex.span, problems);
            });
            Some(PathRewrite::Regex(RegexRewrite {
                pattern: regex,
                substitution: host_or_path(&rewrite, "substitution").unwrap_or_default(),
            }))
        }
    }
}

/// A text that becomes part of a host or path.
fn host_or_path(message: &Message<'_, '_>, name: &'static str) -> Option<String> {
    let text = message.text(name).filter(|text| !text.is_empty())?;
    message.reader.native(&message.path_of(name), |problems| {
        check_host_or_path(&text.value, text.span, problems);
    });
    Some(text.value)
}

fn redirect(action: &Message<'_, '_>) -> Redirect {
    action.one_of(&["https_redirect", "scheme_redirect"]);
    let https = action.flag("https_redirect").unwrap_or(false);
    action.one_of(&["path_redirect", "prefix_rewrite", "regex_rewrite"]);
    let whole = host_or_path(action, "path_redirect").map(RedirectPath::Whole);
    let rewrite = || path_rewrite(action).map(RedirectPath::Rewrite);
    Redirect {
        scheme: host_or_path(action, "scheme_redirect")
            .or_else(|| https.then(|| "https".to_owned())),
        host: host_or_path(action, "host_redirect"),
        port: action
            .number::<u16>("port_redirect")
            .map(|port| port.value)
            .filter(|port| *port != 0),
        path: whole.or_else(rewrite),
        code: action.word("response_code", &CODES).unwrap_or_default(),
        strip_query: action.flag("strip_query").unwrap_or(false),
    }
}

fn direct_response(action: &Message<'_, '_>) -> Option<DirectResponse> {
    if action.node("status").is_none() {
        action.missing("status");
    }
    let status = action.number::<u16>("status")?;
    let path = action.path_of("status");
    action.reader.native(&path, |problems| {
        check_status(status.value, status.span, problems);
    });
    let body = action.message("body").map(|body| {
        body.one_of(&["inline_string", "inline_bytes"]);
        match body.node("inline_bytes") {
            Some(bytes) => {
                let path = body.path_of("inline_bytes");
                body.reader
                    .native(&path, |problems| Base64::read(bytes, problems).0)
            }
            None => body.nonempty("inline_string").unwrap_or_default().into(),
        }
    });
    Some(DirectResponse {
        status: status.value,
        body: body.unwrap_or_default(),
    })
}
