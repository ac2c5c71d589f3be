//! [`RouteTable`]: from a request to its route.

use std::sync::Arc;

use weir_abi::HeaderMap;
use weir_config::RouteFilter;

use super::Route;
use super::hosts::Hosts;
use super::matcher::RouteMatcher;

/// The routes of a listener, compiled.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    pub(super) hosts: Hosts<Vec<Rule>>,
    /// What routes make of the listener's filters, where they do not leave them as they
    /// are: each way once.
    pub(crate) chains: Vec<Vec<RouteFilter>>,
}

/// A route and the requests that take it.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) matcher: RouteMatcher,
    pub(super) route: Arc<Route>,
}

impl RouteTable {
    /// The route that `request` takes. As in Envoy, one without
    /// `x-forwarded-proto` takes none, nor one without a path that is not CONNECT.
    pub(crate) fn find(&self, request: &HeaderMap) -> Option<&Arc<Route>> {
        let path = match request.get(b":path") {
            Some(path) if path.starts_with(b"/") => Some(&path[..]),
            None if request.get(b":method").is_some_and(|m| m == "CONNECT") => None,
            _ => return None,
        };
        if !request.contains(b"x-forwarded-proto") {
            return None;
        }
        let authority = request.get(b":authority").map(|authority| &authority[..]);
        let rules = self.hosts.find(authority)?;
        let rule = rules.iter().find(|r| r.matcher.matches(path, request));
        rule.map(|rule| &rule.route)
    }
}
