//! `routes`.

use serde_json::Value as Json;

use super::Object;
use crate::defaults::ROUTE_TIMEOUT;
use crate::read::{ByteSize, Word};
use crate::route::{
    Forward, HashPolicy, HashSource, HeaderMatch, HeaderMatcher, HostRewrite, PathMatch,
    PathRewrite, Redirect, RedirectCode, RedirectPath, Route, RouteAction, RouteMatch, StringMatch,
    TextMatcher,
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
    block.into()
}

fn matches(matches: &RouteMatch) -> Object {
    let mut block = Object::default();
    match &matches.path.value {
        PathMatch::Prefix(text) => block.set("prefix", text.as_str()),
        PathMatch::Exact(text) => block.set("path", text.as_str()),
        PathMatch::SeparatedPrefix(text) => block.set("path_separated_prefix", text.as_str()),
        PathMatch::Regex(text) => block.set("regex", text.as_str()),
        PathMatch::Connect => block.set("connect", true),
    }
    block.flag("case_sensitive", matches.case_sensitive, true);
    block.list("headers", matches.headers.iter().map(header));
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

fn header(header: &HeaderMatch) -> Json {
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

fn forward(block: &mut Object, forward: &Forward) {
    block.set("cluster", forward.cluster.value.as_str());
    block.duration("timeout", forward.timeout, ROUTE_TIMEOUT);
    block.set("idle_timeout", forward.idle_timeout.map(super::duration));
    if let Some(rewrite) = &forward.path_rewrite {
        path_rewrite(block, rewrite);
    }
    block.set("connect", forward.connect.map(Word::word));
    block.list("hash_policy", forward.hash_policy.iter().map(hash_policy));
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
