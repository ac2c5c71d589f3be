//! `routes`.

use std::time::Duration;

use serde_json::Value as Json;

use super::Object;
use crate::defaults::ROUTE_TIMEOUT;
use crate::read::{ByteSize, Percent, Word};
use crate::route::{
    AppendAction, Cors, Destination, FilterSetting, Forward, HashPolicy, HashSource, HeaderMatch,
    HeaderMatcher, HeaderMutations, HeaderToAdd, HostRewrite, MirrorPolicy, PathMatch, PathRewrite,
    QueryMatcher, Redirect, RedirectCode, RedirectPath, RetryPolicy, Route, RouteAction,
    RouteFilters, RouteMatch, StringMatch, TextMatcher, WeightedCluster,
};

pub(super) fn route(route: &Route) -> Json {
    let mut block = Object::default();
    block.text("name", &route.name);
    block.set("match", matches(&route.matches));
    match &route.action {
        RouteAction::Forward(forward) => self::forward(&mut block, forward),
        RouteAction::Redirect(redirect) => {
            // Even an empty one says something.
            let redirect = Json::from(self::redirect(redirect));
            block.0.insert("redirect".to_owned(), redirect);
        }
        RouteAction::DirectResponse(answer) => {
            let mut direct = Object::default();
            direct.set("status", answer.status);
            direct.text("body", &String::from_utf8_lossy(&answer.body));
            block.set("direct_response", direct);
        }
    }
    block.metadata("metadata", &route.metadata);
    let limit = route.buffer_limit;
    let limit = limit.map(|limit| ByteSize(limit as u64).to_string());
    block.set("buffer_limit", limit);
    let limit = route.max_request_bytes.map(|l| ByteSize(l).to_string());
    block.set("max_request_bytes", limit);
    if let Some(cors) = &route.cors {
        block.set("cors", self::cors(cors));
    }
    filters(&mut block, &route.filters);
    header_mutations(&mut block, &route.headers);
    block.into()
}

pub(super) fn header_mutations(block: &mut Object, headers: &HeaderMutations) {
    let names = |names: &[crate::source::Spanned<String>]| {
        names.iter().map(|n| n.value.clone()).collect::<Vec<_>>()
    };
    let [request_add, request_remove, response_add, response_remove] = HeaderMutations::KEYS;
    block.list(request_add, headers.request_add.iter().map(header_to_add));
    block.set(request_remove, names(&headers.request_remove));
    block.list(response_add, headers.response_add.iter().map(header_to_add));
    block.set(response_remove, names(&headers.response_remove));
}

fn header_to_add(header: &HeaderToAdd) -> Json {
    let mut block = Object::default();
    block.set("key", header.key.value.as_str());
    block.set("value", header.value.text.as_str());
    let action = AppendAction::default();
    block.word("append_action", header.append_action, action);
    block.flag("keep_empty_value", header.keep_empty_value, false);
    block.into()
}

pub(super) fn retry_policy(policy: &RetryPolicy) -> Object {
    let other = RetryPolicy::on(policy.retry_on);
    let mut block = Object::default();
    // Even no condition says something: that headers may name some.
    block.set("retry_on", policy.retry_on.to_string());
    if policy.num_retries != other.num_retries {
        block.set("num_retries", policy.num_retries);
    }
    for (key, value, default) in [
        (
            "per_try_timeout",
            policy.per_try_timeout,
            other.per_try_timeout,
        ),
        (
            "per_try_idle_timeout",
            policy.per_try_idle_timeout,
            other.per_try_idle_timeout,
        ),
    ] {
        block.duration(key, value, default);
    }
    block.set(
        "retriable_status_codes",
        policy.retriable_status_codes.clone(),
    );
    block.list(
        "retriable_headers",
        policy.retriable_headers.iter().map(header),
    );
    let of_request = policy.retriable_request_headers.iter();
    block.list("retriable_request_headers", of_request.map(header));
    if policy.retry_back_off != other.retry_back_off {
        block.set(
            "retry_back_off",
            super::plugins::intervals(policy.retry_back_off),
        );
    }
    let limit = policy.buffer_limit;
    let limit = limit.map(|limit| ByteSize(limit as u64).to_string());
    block.set("buffer_limit", limit);
    block
}

fn weighted_cluster(cluster: &WeightedCluster) -> Json {
    let mut block = Object::default();
    block.set("name", cluster.name.value.as_str());
    block.set("weight", cluster.weight);
    header_mutations(&mut block, &cluster.headers);
    block.into()
}

fn matches(matches: &RouteMatch) -> Object {
    let mut block = Object::default();
    match &matches.path.value {
        PathMatch::Prefix(text) => block.set("prefix", text.as_str()),
        PathMatch::Exact(text) => block.set("path", text.as_str()),
        PathMatch::SeparatedPrefix(text) => block.set("path_separated_prefix", text.as_str()),
        PathMatch::Regex(text) => block.set("regex", text.as_str()),
        PathMatch::Template(text) => block.set("path_template", text.as_str()),
        PathMatch::Connect => block.set("connect", true),
    }
    block.flag("case_sensitive", matches.case_sensitive, true);
    block.set("methods", matches.methods.clone());
    block.list("headers", matches.headers.iter().map(header));
    let parameters = matches.query_parameters.iter().map(|parameter| {
        let mut block = Object::default();
        block.set("name", parameter.name.value.as_str());
        match &parameter.matcher {
            QueryMatcher::Present(present) => block.set("present", *present),
            QueryMatcher::Text(text) => text_match(&mut block, text),
        }
        block
    });
    block.list("query_parameters", parameters);
    block
}

pub(super) fn text_match(block: &mut Object, text: &StringMatch) {
    let (key, value) = match &text.matcher {
        TextMatcher::Exact(value) => ("exact", value),
        TextMatcher::Prefix(value) => ("prefix", value),
        TextMatcher::Suffix(value) => ("suffix", value),
        TextMatcher::Contains(value) => ("contains", value),
        TextMatcher::Regex(value) => ("regex", value),
    };
    block.set(key, value.as_str());
    block.flag("ignore_case", text.ignore_case, false);
}

pub(super) fn header(header: &HeaderMatch) -> Json {
    let mut block = Object::default();
    block.set("name", header.name.value.as_str());
    match &header.matcher {
        HeaderMatcher::Present(present) => block.set("present", *present),
        HeaderMatcher::Range { start, end } => {
            let mut range = Object::default();
            range.set("start", *start);
            range.set("end", *end);
            block.set("range", range);
        }
        HeaderMatcher::Text(text) => text_match(&mut block, text),
    }
    block.flag("invert", header.invert, false);
    block.flag(
        "treat_missing_as_empty",
        header.treat_missing_as_empty,
        false,
    );
    block.into()
}

pub(super) fn cors(cors: &Cors) -> Object {
    let mut block = Object::default();
    let origins = cors.allow_origin.iter().map(|origin| {
        let mut block = Object::default();
        text_match(&mut block, origin);
        Json::from(block)
    });
    let origins = origins.collect::<Vec<_>>().into();
    // Even an empty list says something.
    block
        .0
        .insert("allow_origin_string_match".to_owned(), origins);
    block.text("allow_methods", &cors.allow_methods);
    block.text("allow_headers", &cors.allow_headers);
    block.text("expose_headers", &cors.expose_headers);
    block.set("max_age", cors.max_age.map(super::duration));
    block.flag("allow_credentials", cors.allow_credentials, false);
    block
}

pub(super) fn mirror(policy: &MirrorPolicy) -> Json {
    let mut block = Object::default();
    block.set("cluster", policy.cluster.value.as_str());
    if policy.fraction != Percent::ALL {
        block.set("fraction", policy.fraction.to_string());
    }
    block.flag(
        "disable_shadow_host_suffix_append",
        policy.disable_shadow_host_suffix_append,
        false,
    );
    block.into()
}

pub(super) fn filters(block: &mut Object, filters: &RouteFilters) {
    let mut settings = Object::default();
    for filter in &filters.0 {
        let mut setting = Object::default();
        match &filter.setting {
            FilterSetting::Disabled => setting.set("disabled", true),
            FilterSetting::Enabled => setting.set("disabled", false),
            FilterSetting::Configured(bytes) => {
                // Even an empty one says something.
                let bytes = match super::plugins::configuration(bytes) {
                    Json::Null => "".into(),
                    bytes => bytes,
                };
                setting.set("configuration", bytes);
            }
            FilterSetting::Rbac(policies) => {
                // Even an empty one says something.
                let policies = super::rbac::rbac(policies).into();
                setting.0.insert("rbac".to_owned(), policies);
            }
        }
        settings.set(&filter.name, setting);
    }
    block.set("filters", settings);
}

fn forward(block: &mut Object, forward: &Forward) {
    match &forward.destination {
        Destination::Cluster(name) => block.set("cluster", name.value.as_str()),
        Destination::Weighted(clusters) => {
            block.list("weighted_clusters", clusters.iter().map(weighted_cluster));
        }
        Destination::Header(name) => block.set("cluster_header", name.as_str()),
    }
    block.duration("timeout", forward.timeout, ROUTE_TIMEOUT);
    block.set("idle_timeout", forward.idle_timeout.map(super::duration));
    if let Some(rewrite) = &forward.path_rewrite {
        path_rewrite(block, rewrite);
    }
    block.set("connect", forward.connect.map(Word::word));
    block.list("hash_policy", forward.hash_policy.iter().map(hash_policy));
    if let Some(policy) = &forward.retry_policy {
        block.set("retry_policy", retry_policy(policy));
    }
    let mirrors = forward.request_mirror_policies.iter().flatten();
    block.list("request_mirror_policies", mirrors.map(mirror));
    let unlimited = Duration::ZERO;
    block.duration(
        "max_stream_duration",
        forward.max_stream_duration,
        unlimited,
    );
    match &forward.host_rewrite {
        Some(HostRewrite::Literal(host)) => block.set("host_rewrite", host.as_str()),
        Some(HostRewrite::Header(name)) => block.set("host_rewrite_header", name.as_str()),
        Some(HostRewrite::Auto) => block.set("auto_host_rewrite", true),
        None => {}
    }
}

fn hash_policy(policy: &HashPolicy) -> Json {
    let mut source = Object::default();
    let key = match &policy.source {
        HashSource::Header(name) => {
            source.set("header_name", name.as_str());
            "header"
        }
        HashSource::Cookie(cookie) => {
            source.set("name", cookie.name.as_str());
            source.set("ttl", cookie.ttl.map(super::duration));
            source.text("path", &cookie.path);
            "cookie"
        }
        HashSource::SourceIp => {
            source.set("source_ip", true);
            "connection_properties"
        }
        HashSource::QueryParameter(name) => {
            source.set("name", name.as_str());
            "query_parameter"
        }
    };
    let mut block = Object::default();
    block.set(key, source);
    block.flag("terminal", policy.terminal, false);
    block.into()
}

fn path_rewrite(block: &mut Object, rewrite: &PathRewrite) {
    match rewrite {
        PathRewrite::Prefix(prefix) => block.set("prefix_rewrite", prefix.as_str()),
        PathRewrite::Template(rewrite) => {
            block.set("path_template_rewrite", rewrite.value.as_str());
        }
        PathRewrite::Regex(regex) => {
            let mut rewrite = Object::default();
            rewrite.set("pattern", regex.pattern.value.as_str());
            rewrite.set("substitution", regex.substitution.as_str());
            block.set("regex_rewrite", rewrite);
        }
    }
}

fn redirect(redirect: &Redirect) -> Object {
    let mut block = Object::default();
    block.set("scheme_redirect", redirect.scheme.as_deref());
    block.set("host_redirect", redirect.host.as_deref());
    block.set("port_redirect", redirect.port);
    match &redirect.path {
        Some(RedirectPath::Whole(path)) => block.set("path_redirect", path.as_str()),
        Some(RedirectPath::Rewrite(rewrite)) => path_rewrite(&mut block, rewrite),
        None => {}
    }
    if redirect.code != RedirectCode::default() {
        block.set("response_code", redirect.code.word());
    }
    block.flag("strip_query", redirect.strip_query, false);
    block
}
