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
    /// Whether the port of a host makes no difference.
    pub(super) ignores_port: bool,
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
        let authority = match self.ignores_port {
            true => authority.map(without_port),
            false => authority,
        };
        let rules = self.hosts.find(authority)?;
        let rule = rules.iter().find(|r| r.matcher.matches(path, request));
        rule.map(|rule| &rule.route)
    }
}

/// A host without its port; an address of IPv6 has brackets around its own colons.
fn without_port(authority: &[u8]) -> &[u8] {
    let last = |byte: u8| authority.iter().rposition(|b| *b == byte);
    match (last(b':'), last(b']')) {
        (Some(colon), bracket) if bracket.is_none_or(|at| at < colon) => &authority[..colon],
        _ => authority,
    }
}
