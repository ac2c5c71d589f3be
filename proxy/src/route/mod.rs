//! Routing: what happens to a request that has passed the filters.
//!
//! A [`RouteTable`] is compiled once and shared by all workers. A request finds
//! its virtual host by its authority, and there the first route whose match
//! holds, all as in Envoy.

mod build;
mod clusters;
mod cors;
mod destination;
mod hash;
mod header_mutation;
mod hosts;
mod matcher;
mod redirect;
mod retry;
mod rewrite;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::{Connect, Metadata};

pub(crate) use self::clusters::ClusterTable;
pub(crate) use self::cors::Cors;
pub(crate) use self::destination::{Chosen, Destination, Lot};
pub(crate) use self::hash::{HashPolicies, find_cookie};
use self::header_mutation::HeaderMutations;
use self::matcher::Matched;
pub(crate) use self::matcher::{HeaderMatcher, TextMatcher};
pub(crate) use self::redirect::Redirect;
pub(crate) use self::retry::RetryPolicy;
use self::rewrite::{HostRewrite, PathRewrite};
pub(crate) use self::table::RouteTable;

/// One rule of a virtual host.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) virtual_host: String,
    pub(crate) metadata: Metadata,
    pub(crate) virtual_host_metadata: Arc<Metadata>,
    /// Bytes that one filter may hold of a body, if not the listener's.
    pub(crate) buffer_limit: Option<usize>,
    /// Place of its chain of filters among [`RouteTable::chains`], if that is not the
    /// listener's.
    pub(crate) chain: Option<usize>,
    /// Bytes that a request's body may have.
    pub(crate) max_request_bytes: Option<u64>,
    pub(crate) cors: Option<Arc<Cors>>,
    /// Whether `x-envoy-attempt-count` tells endpoints which attempt it is.
    pub(crate) count_attempts: bool,
    /// Whether it tells clients.
    pub(crate) tell_attempts: bool,
    /// The route's, the virtual host's and the listener's.
    headers: Vec<Arc<HeaderMutations>>,
    pub(crate) action: Action,
}

/// What a route does with a request.
#[derive(Debug)]
pub(crate) enum Action {
    Forward(Forward),
    Redirect(Redirect),
    DirectResponse(DirectResponse),
}

/// The request goes to a cluster.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) destination: Destination,
    /// Of all clusters of the generation.
    pub(crate) cluster_metadata: Arc<[Metadata]>,
    pub(crate) retry: Option<Arc<RetryPolicy>>,
    pub(crate) mirrors: Vec<Mirror>,
    /// For request and response together.
    pub(crate) duration_max: Option<Duration>,
    /// From the end of the request to the end of the response; `None` for no
    /// limit.
    pub(crate) timeout: Option<Duration>,
    /// How long nothing may move, if not as long as the listener says; zero
    /// for no limit.
    pub(crate) idle_timeout: Option<Duration>,
    /// The authority becomes the endpoint's host name, where it has one.
    pub(crate) auto_host_rewrite: bool,
    /// What happens to CONNECT, whatever the listener allows.
    pub(crate) connect: Option<Connect>,
    /// What the endpoint depends on.
    pub(crate) hash_policy: HashPolicies,
    path_rewrite: Option<(PathRewrite, Matched)>,
    host_rewrite: Option<HostRewrite>,
    /// Whether `x-envoy-original-path` and `-host` tell what was rewritten.
    envoy_headers: bool,
}

/// A cluster that gets copies of requests.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    /// Index of the cluster in the generation.
    pub(crate) cluster: usize,
    /// Of how many requests, of a million.
    pub(crate) millionths: u32,
    /// Whether `-shadow` is added to the host.
    pub(crate) marks_host: bool,
}

/// The request is answered at once.
#[derive(Debug)]
pub(crate) struct DirectResponse {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl DirectResponse {
    /// Where the resource is: the request's own place, for statuses that come
    /// with a `location`, as in Envoy (`router.cc`).
    pub(crate) fn location(&self, request: &HeaderMap) -> Option<Bytes> {
        let told = self.status == 201 || (300..400).contains(&self.status);
        let has_path = request.contains(b":path");
        (told && has_path).then(|| Redirect::UNCHANGED.answer(request).1)
    }
}

/// A path without its query and fragment.
pub(crate) fn without_query(path: &[u8]) -> &[u8] {
    let end = path.iter().position(|b| matches!(b, b'?' | b'#'));
    &path[..end.unwrap_or(path.len())]
}
