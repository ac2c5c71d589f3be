//! Envoy's `RouteMatch`, `HeaderMatcher` and `StringMatcher`.

use super::message::Message;
use crate::route::{
    HeaderMatch, HeaderMatcher, PathMatch, QueryMatch, QueryMatcher, RouteMatch, StringMatch,
    TextMatcher, check_path, check_regex,
};
use crate::source::Spanned;

/// Of `path_match_policy`.
const TEMPLATE: &str = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";

const PATHS: [&str; 6] = [
    "path_match_policy",
    "prefix",
    "path",
    "safe_regex",
    "path_separated_prefix",
    "connect_matcher",
];

const HEADERS: [&str; 8] = [
    "string_match",
    "exact_match",
    "prefix_match",
    "suffix_match",
    "contains_match",
    "safe_regex_match",
    "range_match",
    "present_match",
];

const TEXTS: [&str; 5] = ["exact", "prefix", "suffix", "contains", "safe_regex"];

/// `match`; `None` if there is a condition in it that Weir does not have, which
/// is noted when the message goes.
pub(super) fn read(message: &Message<'_, '_>) -> Option<RouteMatch> {
    let case_sensitive = message.flag("case_sensitive").unwrap_or(true);
    let headers = message.messages("headers");
    let headers: Vec<_> = headers.iter().map(header).collect();
    let parameters = message.messages("query_parameters");
    let parameters: Vec<_> = parameters.iter().map(query_parameter).collect();
    let Some(chosen) = message.one_of(&PATHS) else {
        if !message.has_unknown() {
            message.missing("prefix");
        }
        return None;
    };
    let path = match chosen {
        "prefix" => {
            let mut prefix = message.text("prefix")?;
            if prefix.is_empty() {
                // Every path starts with nothing, and with this.
                "/".clone_into(&mut prefix.value);
            }
            Spanned::new(PathMatch::Prefix(prefix.value), prefix.span)
        }
        "path" => {
            let path = message.text("path")?;
            Spanned::new(PathMatch::Exact(path.value), path.span)
        }
        "path_separated_prefix" => {
            let prefix = message.text("path_separated_prefix")?;
            Spanned::new(PathMatch::SeparatedPrefix(prefix.value), prefix.span)
        }
        "path_match_policy" => {
            let policy = message.message("path_match_policy")?;
            policy.inert("name");
            let typed = policy.typed("typed_config")?;
            if typed.name != TEMPLATE {
                let what = format!("{}: {}", policy.path(), typed.name);
                policy.reader.outside(policy.at(), &what, None);
                typed.message.close();
                return None;
            }
            let template = typed.message.required_text("path_template");
            Spanned::new(PathMatch::Template(template.value), template.span)
        }
        "connect_matcher" => {
            // Only its being there counts.
            message.message("connect_matcher")?;
            Spanned::new(PathMatch::Connect, message.span_of("connect_matcher"))
        }
        _ => {
            // Checked below, with the others.
            let regex = pattern(&message.message("safe_regex")?);
            Spanned::new(PathMatch::Regex(regex.value), regex.span)
        }
    };
    let at = message.path_of(chosen);
    message
        .reader
        .native(&at, |problems| check_path(&path, problems));
    let headers = headers.into_iter().collect::<Option<Vec<_>>>()?;
    let query_parameters = parameters.into_iter().collect::<Option<Vec<_>>>()?;
    (!message.has_unknown()).then_some(RouteMatch {
        path,
        case_sensitive,
        methods: Vec::new(),
        headers,
        query_parameters,
    })
}

fn query_parameter(message: &Message<'_, '_>) -> Option<QueryMatch> {
    let name = message.required_text("name");
    let matcher = match message.one_of(&["string_match", "present_match"]) {
        Some("string_match") => {
            QueryMatcher::Text(string_match(&message.message("string_match")?)?)
        }
        Some(_) => QueryMatcher::Present(message.flag("present_match")?),
        None => QueryMatcher::Present(true),
    };
    (!message.has_unknown()).then_some(QueryMatch { name, matcher })
}

pub(super) fn header(message: &Message<'_, '_>) -> Option<HeaderMatch> {
    let name = message.required_text("name");
    let invert = message.flag("invert_match").unwrap_or(false);
    let empty = message
        .flag("treat_missing_header_as_empty")
        .unwrap_or(false);
    let text = |matcher| {
        HeaderMatcher::Text(StringMatch {
            matcher,
            ignore_case: false,
        })
    };
    let matcher = match message.one_of(&HEADERS) {
        None if message.has_unknown() => return None,
        None => HeaderMatcher::Present(true),
        Some("present_match") => HeaderMatcher::Present(message.flag("present_match")?),
        Some("string_match") => {
            HeaderMatcher::Text(string_match(&message.message("string_match")?)?)
        }
        Some("range_match") => {
            let range = message.message("range_match")?;
            HeaderMatcher::Range {
                start: range.number::<i64>("start").map_or(0, |start| start.value),
                end: range.number::<i64>("end").map_or(0, |end| end.value),
            }
        }
        Some("safe_regex_match") => {
            let regex = regex(&message.message("safe_regex_match")?);
            text(TextMatcher::Regex(regex.value))
        }
        Some(chosen) => {
            let value = message.text(chosen)?.value;
            text(match chosen {
                "exact_match" => TextMatcher::Exact(value),
                "prefix_match" => TextMatcher::Prefix(value),
                "suffix_match" => TextMatcher::Suffix(value),
                _ => TextMatcher::Contains(value),
            })
        }
    };
    (!message.has_unknown()).then_some(HeaderMatch {
        name,
        matcher,
        invert,
        treat_missing_as_empty: empty,
    })
}

pub(super) fn string_match(message: &Message<'_, '_>) -> Option<StringMatch> {
    let ignore_case = message.flag("ignore_case").unwrap_or(false);
    let Some(chosen) = message.one_of(&TEXTS) else {
        if !message.has_unknown() {
            message.missing("exact");
        }
        return None;
    };
    let matcher = if chosen == "safe_regex" {
        TextMatcher::Regex(regex(&message.message("safe_regex")?).value)
    } else {
        let value = message.text(chosen)?.value;
        match chosen {
            "exact" => TextMatcher::Exact(value),
            "prefix" => TextMatcher::Prefix(value),
            "suffix" => TextMatcher::Suffix(value),
            _ => TextMatcher::Contains(value),
        }
    };
    Some(StringMatch {
        matcher,
        ignore_case,
    })
}

/// `RegexMatcher`.
fn regex(message: &Message<'_, '_>) -> Spanned<String> {
    let regex = pattern(message);
    let path = message.path_of("regex");
    message.reader.native(&path, |problems| {
        check_regex(&regex.value, regex.span, problems);
    });
    regex
}

fn pattern(message: &Message<'_, '_>) -> Spanned<String> {
    message.inert("google_re2");
    message.required_text("regex")
}
