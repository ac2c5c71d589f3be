//! The filter and its streams.

use std::rc::Rc;

use filter_config::{HeaderName, HeaderValue};
use filter_http::{Filter, Headers, Request, Response, query};
use log::warn;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{Action as Rewrite, Config, Mutations};
use crate::host::{Captures, Host, Values};
use crate::template::Template;

struct Stream {
    config: Rc<Config>,
    /// For the response, in order; what the request says is filled in.
    later: Vec<Later>,
}

enum Later {
    Remove(HeaderName),
    Set(HeaderName, Template),
    Add(HeaderName, Template),
}

impl Filter for Config {
    const NAME: &'static str = "rewrite";

    type Config = Self;

    fn new(config: Self) -> Self {
        config
    }

    fn stream(self: Rc<Self>, _id: u32) -> Box<dyn HttpContext> {
        Box::new(Stream {
            config: self,
            later: Vec::new(),
        })
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let config = Rc::clone(&self.config);
        for rule in &config.rules {
            let Some(captures) = rule.condition.captures(&Host) else {
                continue;
            };
            // What the rule says of the request is what it was before the rule.
            let headers = filled(&rule.request_headers, &captures);
            self.bind(&rule.response_headers, &captures);
            match &rule.action {
                Rewrite::Keep => {}
                Rewrite::Rewrite { path, authority } => {
                    let path = path.as_ref().map(|path| target(path, &captures));
                    let path = path.map(|path| match climbs(&path) {
                        true => String::new(),
                        false => path,
                    });
                    let authority = authority.as_ref().map(|a| a.fill(&Host, &captures));
                    for (name, value) in [(":path", path), (":authority", authority)] {
                        match value.map(sendable) {
                            None => {}
                            Some(Some(value)) => Request.set(name, Some(&value)),
                            Some(None) => warn!("rewrite: `{name}` stays: no value for it"),
                        }
                    }
                }
                Rewrite::Redirect(status, location) => {
                    let location = location.fill_path(&Host, &captures);
                    let location = sendable(location).unwrap_or_else(|| "/".to_owned());
                    self.later.clear();
                    let headers = vec![("location", &*location)];
                    self.send_http_response(*status, headers, None);
                    return Action::Pause;
                }
            }
            for change in headers {
                self.change_request(change);
            }
            if rule.last {
                break;
            }
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        // What is told of the response is what it was before.
        let told = |name: &HeaderName, template: &Template| {
            sendable_header(name, &template.fill_response(|name| Response.get(name)))
        };
        let later = std::mem::take(&mut self.later);
        let changes: Vec<_> = later
            .iter()
            .filter_map(|later| match later {
                Later::Remove(name) => Some(Change::Remove(name)),
                Later::Set(name, template) => Some(Change::set(name, told(name, template))),
                Later::Add(name, template) => Some(Change::Add(name, told(name, template)?)),
            })
            .collect();
        for change in changes {
            match change {
                Change::Remove(name) => Response.set(name, None),
                Change::Set(name, value) => Response.set(name, Some(&value)),
                Change::Add(name, value) => self.add_http_response_header(name, &value),
            }
        }
        Action::Continue
    }
}

enum Change<'c> {
    Remove(&'c str),
    Set(&'c str, HeaderValue),
    Add(&'c str, HeaderValue),
}

impl<'c> Change<'c> {
    /// A header that cannot be set is removed: one that a client sent must not stand in
    /// its place.
    fn set(name: &'c str, value: Option<HeaderValue>) -> Self {
        match value {
            Some(value) => Self::Set(name, value),
            None => Self::Remove(name),
        }
    }
}

impl Stream {
    fn change_request(&self, change: Change<'_>) {
        match change {
            Change::Remove(name) => Request.set(name, None),
            Change::Set(name, value) => Request.set(name, Some(&value)),
            Change::Add(name, value) => self.add_http_request_header(name, &value),
        }
    }

    fn bind(&mut self, mutations: &Mutations, captures: &Captures) {
        let removed = mutations.remove.iter().cloned().map(Later::Remove);
        self.later.extend(removed);
        for (name, template) in &mutations.set {
            let bound = template.bind(&Host, captures);
            self.later.push(Later::Set(name.clone(), bound));
        }
        for (name, template) in &mutations.add {
            let bound = template.bind(&Host, captures);
            self.later.push(Later::Add(name.clone(), bound));
        }
    }
}

fn filled<'m>(mutations: &'m Mutations, captures: &Captures) -> Vec<Change<'m>> {
    let mut changes: Vec<_> = mutations
        .remove
        .iter()
        .map(|name| Change::Remove(name))
        .collect();
    let value = |name: &HeaderName, template: &Template| {
        sendable_header(name, &template.fill(&Host, captures))
    };
    for (name, template) in &mutations.set {
        changes.push(Change::set(name, value(name, template)));
    }
    for (name, template) in &mutations.add {
        changes.extend(value(name, template).map(|value| Change::Add(name, value)));
    }
    changes
}

/// The new path, with the query that there is unless the template has one.
fn target(path: &Template, captures: &Captures) -> String {
    let new = path.fill_path(&Host, captures);
    let old = Host.path();
    match old.split_once('?').filter(|_| !path.has_query()) {
        Some((_, query)) => format!("{new}?{query}"),
        None => new,
    }
}

/// Whether a path has a segment that means another one, such as `..`, plain or encoded:
/// with a value from a client, it would lead out of where the template is.
fn climbs(target: &str) -> bool {
    query::path(target).split('/').any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(segment.as_str(), "." | "..")
    })
}

/// A text that can stand in the first line of a request, or as a location.
fn sendable(text: String) -> Option<String> {
    let visible = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    visible.then_some(text)
}

/// A value that can stand in a header; what cannot is told in the log.
fn sendable_header(name: &HeaderName, text: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(text.trim_matches([' ', '\t']).to_owned())
        .map_err(|reason| warn!("rewrite: `{}` is left out: {reason}", &**name))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::climbs;

    #[test]
    fn segments_of_dots_are_seen() {
        for path in ["/a/../b", "/..", "/a/.", "/%2E./x", "/.%2e?q", "/./"] {
            assert!(climbs(path), "{path}");
        }
        for path in ["/", "/a..b/...", "/.well-known/x", "/a?b=/../c"] {
            assert!(!climbs(path), "{path}");
        }
    }
}
