//! How headers change on their way (Envoy's `header_parser.cc`).

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::{self as config, AppendAction, Template};

use super::{Action, Route};
use crate::stream::{FilteredStream, StreamInfo};
use crate::telemetry::{LogSubject, header_value};

/// How the headers of requests and responses change.
#[derive(Debug, Default)]
pub(crate) struct HeaderMutations {
    request: Mutation,
    response: Mutation,
}

/// How headers change in one direction.
#[derive(Debug, Default)]
struct Mutation {
    /// Lower case.
    remove: Vec<String>,
    add: Vec<HeaderToAdd>,
}

#[derive(Debug)]
struct HeaderToAdd {
    /// Lower case.
    name: Bytes,
    value: Template,
    action: AppendAction,
    keep_empty: bool,
}

impl HeaderMutations {
    pub(super) fn new(headers: &config::HeaderMutations) -> Self {
        Self {
            request: Mutation::new(&headers.request_add, &headers.request_remove),
            response: Mutation::new(&headers.response_add, &headers.response_remove),
        }
    }
}

impl Mutation {
    fn new(add: &[config::HeaderToAdd], remove: &[config::Spanned<String>]) -> Self {
        let added = |header: &config::HeaderToAdd| HeaderToAdd {
            name: header.key.to_ascii_lowercase().into(),
            value: header.value.clone(),
            action: header.append_action,
            keep_empty: header.keep_empty_value,
        };
        Self {
            remove: remove.iter().map(|n| n.to_ascii_lowercase()).collect(),
            add: add.iter().map(added).collect(),
        }
    }

    /// Changes `headers`; `value` is what a text comes to, as they are.
    fn apply(&self, headers: &mut HeaderMap, value: impl Fn(&Template, &HeaderMap) -> String) {
        for name in &self.remove {
            headers.remove(name.as_bytes());
        }
        let mut added = Vec::new();
        let mut replaced = Vec::new();
        for header in &self.add {
            let value = value(&header.value, headers);
            if value.is_empty() && !header.keep_empty {
                continue;
            }
            let exists = headers.contains(&header.name);
            let list = match header.action {
                AppendAction::AddIfAbsent if exists => continue,
                AppendAction::OverwriteIfExists if !exists => continue,
                AppendAction::AppendIfExistsOrAdd | AppendAction::AddIfAbsent => &mut added,
                AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists => {
                    &mut replaced
                }
            };
            list.push((header.name.clone(), value));
        }
        for (name, value) in replaced {
            headers.replace(name, value);
        }
        for (name, value) in added {
            headers.add(name, value);
        }
    }
}

impl Route {
    /// From the most particular to the most general, of which the last word counts.
    fn mutations(&self, info: &StreamInfo) -> impl Iterator<Item = &HeaderMutations> {
        let weighted = match &self.action {
            Action::Forward(forward) => info
                .chosen
                .get()
                .and_then(|chosen| forward.destination.headers(chosen)),
            Action::Redirect(_) | Action::DirectResponse(_) => None,
        };
        weighted
            .into_iter()
            .chain(self.headers.iter().map(AsRef::as_ref))
    }

    /// Changes the headers of a request that has passed the filters.
    pub(crate) fn change_request(&self, stream: &FilteredStream) {
        for mutations in self.mutations(&stream.info) {
            let mut headers = stream.request_map();
            mutations.request.apply(&mut headers, |value, headers| {
                let subject = LogSubject {
                    info: &stream.info,
                    request: headers,
                    response: None,
                    trailers: None,
                };
                header_value(value, &subject)
            });
        }
    }

    /// Changes the headers of a response, before the filters see it.
    pub(crate) fn change_response(&self, stream: &FilteredStream, headers: &mut HeaderMap) {
        for mutations in self.mutations(&stream.info) {
            let request = stream.request_map();
            mutations.response.apply(headers, |value, headers| {
                let subject = LogSubject {
                    info: &stream.info,
                    request: &request,
                    response: Some(headers),
                    trailers: None,
                };
                header_value(value, &subject)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_kept_replaced_or_added_to() {
        let text = "listeners: [{ name: e, address: 127.0.0.1:0, \
            request_headers_to_remove: [X-Gone], request_headers_to_add: [\
            { key: x-a, value: '2' }, \
            { key: X-B, value: '2', append_action: overwrite_if_exists_or_add }, \
            { key: x-c, value: '2', append_action: add_if_absent }, \
            { key: x-d, value: '2', append_action: overwrite_if_exists }, \
            { key: x-e, value: '' }, { key: x-f, value: '', keep_empty_value: true }] }]";
        let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
        let mutations = HeaderMutations::new(&config.listeners[0].filter_chains[0].headers);
        let changed = |headers: &[(&'static str, &'static str)]| {
            let mut headers: HeaderMap = headers.iter().copied().collect();
            let plain = |value: &Template, _: &HeaderMap| value.text.clone();
            mutations.request.apply(&mut headers, plain);
            let line = |(n, v): (&[u8], &[u8])| {
                [n, b"=", v]
                    .concat()
                    .iter()
                    .map(|b| char::from(*b))
                    .collect()
            };
            headers.iter().map(line).collect::<Vec<String>>().join(" ")
        };
        assert_eq!(changed(&[]), "x-b=2 x-a=2 x-c=2 x-f=");
        let there = [
            ("x-a", "1"),
            ("x-b", "1"),
            ("x-c", "1"),
            ("x-d", "1"),
            ("x-gone", "1"),
        ];
        assert_eq!(changed(&there), "x-a=1 x-c=1 x-b=2 x-d=2 x-a=2 x-f=");
    }
}
