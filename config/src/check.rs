//! What no single block can know: names that clash, references to nothing.
//!
//! An empty name stands for one that could not be read; it clashes with none.

use std::collections::HashMap;

use crate::address::Address;
use crate::cluster::ClusterEndpoint;
use crate::code::Code;
use crate::config::Config;
use crate::error::Problem;
use crate::filter_chain::FilterChain;
use crate::listener::Listener;
use crate::native_filter::Native;
use crate::problems::Problems;
use crate::read::{list, nearest};
use crate::route::{FilterSetting, Route, RouteFilter};
use crate::source::{Span, Spanned};

pub(crate) fn listeners(config: &Config, problems: &mut Problems) {
    let names = config.listeners.iter().map(|listener| &listener.name);
    unique(names, "listener", problems);
    for listener in &config.listeners {
        self::listener(listener, problems);
    }
    shared_limits(config, problems);
    let admin = config.admin.iter().map(|admin| &admin.address);
    let addresses = config.listeners.iter().map(|listener| &listener.address);
    unique_addresses(admin.chain(addresses), problems);
}

/// What one listener has.
pub(crate) fn listener(listener: &Listener, problems: &mut Problems) {
    distinct(listener, problems);
    let owner = match listener.only_chain() {
        Some(_) => "listener",
        None => "filter chain",
    };
    for chain in listener.chains() {
        filter_chain(listener, chain, owner, problems);
    }
}

/// Names within a chain, or a listener that is one.
fn filter_chain(listener: &Listener, chain: &FilterChain, owner: &str, problems: &mut Problems) {
    let names = chain.http_filters.iter().map(|filter| &filter.name);
    let native = chain.native_filters.iter().map(|filter| &filter.name);
    let what = format!("filter of this {owner}");
    unique(names.chain(native), &what, problems);
    let names = chain.network_filters.iter().map(|filter| &filter.name);
    let native = chain.native_network_filters.iter();
    let names = names.chain(native.map(|filter| &filter.name));
    unique(names, &format!("network filter of this {owner}"), problems);
    one_cors(chain, problems);
    let names = chain.access_loggers.iter().map(|logger| &logger.name);
    unique(names, &format!("access logger of this {owner}"), problems);
    route_filters(listener, chain, problems);
    hosts(chain, owner, problems);
}

/// Virtual hosts that clash.
pub(crate) fn hosts(chain: &FilterChain, owner: &str, problems: &mut Problems) {
    let names = chain.virtual_hosts.iter().map(|host| &host.name);
    unique(names, &format!("virtual host of this {owner}"), problems);
    let domains = chain.virtual_hosts.iter();
    unique_domains(domains.flat_map(|host| &host.domains), problems);
}

/// Filter chains between which nothing decides.
fn distinct(listener: &Listener, problems: &mut Problems) {
    let chains = &listener.filter_chains;
    let called = |place: usize| match chains[place].name.as_str() {
        "" => format!("number {}", place + 1),
        name => format!("`{name}`"),
    };
    for (place, chain) in chains.iter().enumerate() {
        let mut earlier = chains[..place].iter();
        let same = earlier.position(|other| other.matches.clashes(&chain.matches));
        if let Some(same) = same {
            let message = format!(
                "filter chain {} of listener `{}` matches what filter chain {} does",
                called(place),
                listener.name.value,
                called(same)
            );
            let problem = Problem::new(chain.at, message);
            problems.push(problem.related(chains[same].at, "the other one stands here"));
        }
    }
}

/// `cors` has one place.
fn one_cors(chain: &FilterChain, problems: &mut Problems) {
    let filters = chain.native_filters.iter();
    let mut places = filters.filter(|filter| filter.kind == Native::Cors);
    if let (Some(first), Some(second)) = (places.next(), places.next()) {
        let problem = Problem::new(second.name.span, "`cors` has a place already");
        problems.push(problem.related(first.name.span, "it is here"));
    }
}

/// Filters that routes speak of, and their chain does not have, or not so.
fn route_filters(listener: &Listener, chain: &FilterChain, problems: &mut Problems) {
    let names = || {
        let native = chain.native_filters.iter().map(|f| f.name.as_str());
        let wasm = chain.http_filters.iter().map(|f| f.name.as_str());
        wasm.chain(native)
    };
    if names().any(str::is_empty) {
        // One that could not be read may be the one that is meant.
        return;
    }
    let of_hosts = chain.virtual_hosts.iter().map(|host| &host.filters);
    let of_routes = chain.routes().map(|route| &route.filters);
    let all = of_hosts.chain(of_routes).flat_map(|filters| &filters.0);
    for filter in all {
        if names().any(|name| name == filter.name.as_str()) {
            fits(chain, filter, problems);
            continue;
        }
        let help = match nearest(&filter.name, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if names().next().is_none() => "it has none in `http_filters`".to_owned(),
            None => format!("its filters are {}", list(names())),
        };
        let message = format!(
            "listener `{}` has no filter `{}`",
            listener.name.value, filter.name.value
        );
        problems.push(Problem::new(filter.name.span, message).help(help));
    }
}

/// Notes what a route cannot say of a filter of this kind.
fn fits(chain: &FilterChain, filter: &RouteFilter, problems: &mut Problems) {
    let mut native = chain.native_filters.iter();
    let native = native.find(|native| native.name.value == filter.name.value);
    let name = &filter.name.value;
    let (message, help) = match (native.map(|native| &native.kind), &filter.setting) {
        (None, FilterSetting::Rbac(_)) => (
            format!("filter `{name}` has no `rbac`"),
            "a filter with `wasm` has a `configuration`",
        ),
        (Some(Native::Rbac(_)), FilterSetting::Configured(_)) => (
            format!("filter `{name}` has no `configuration`"),
            "write `rbac`, with what stands in the place of its own",
        ),
        (Some(Native::Cors), FilterSetting::Enabled) => return,
        (Some(Native::Cors), _) => (
            format!("filter `{name}` is as it is for all routes"),
            "what holds for a route stands in its `cors`",
        ),
        (Some(Native::Rbac(_)) | None, _) => return,
    };
    problems.push(Problem::new(filter.name.span, message).help(help));
}

/// What filters of one `vm_id` share has one limit.
fn shared_limits(config: &Config, problems: &mut Problems) {
    let mut data = HashMap::new();
    let mut queues = HashMap::new();
    let filters = config.filters();
    let versions = filters.flat_map(|(listener, filter)| {
        let versions = filter.versions();
        versions.map(move |wasm| (listener, filter, wasm))
    });
    for (listener, filter, wasm) in versions {
        let vm_id = wasm.vm_config.vm_id.as_str();
        let limits = &wasm.limits;
        let place = (listener.name.as_str(), filter.name.as_str());
        let mut compare = |differs: Option<(Span, (&str, &str))>, span, what| {
            let Some((earlier, (listener, filter))) = differs else {
                return;
            };
            let message = format!(
                "filter `{}` has other `{what}` limits than filter `{filter}` of listener \
                 `{listener}`, and the same vm_id `{vm_id}`",
                place.1
            );
            let problem = Problem::new(span, message)
                .related(earlier, "the other limits stand here")
                .help("filters of one vm_id share what is limited: write it once, or alike");
            problems.push(problem);
        };
        if let Some(limits) = limits.shared_data {
            let first = *data.entry(vm_id).or_insert((limits, place));
            let differs = (first.0 != limits).then_some((first.0.span, first.1));
            compare(differs, limits.span, "shared_data");
        }
        if let Some(limits) = limits.shared_queues {
            let first = *queues.entry(vm_id).or_insert((limits, place));
            let differs = (first.0 != limits).then_some((first.0.span, first.1));
            compare(differs, limits.span, "shared_queues");
        }
    }
}

pub(crate) fn clusters(config: &Config, problems: &mut Problems) {
    let names = config.clusters.iter().map(|cluster| &cluster.name);
    unique(names, "cluster", problems);
}

/// Ways to clusters that do not exist.
pub(crate) fn references(config: &Config, problems: &mut Problems) {
    let names = || config.clusters.iter().map(|cluster| cluster.name.as_str());
    if names().any(str::is_empty) {
        // One that could not be read may be the one that is meant.
        return;
    }
    let chains = config.listeners.iter().flat_map(Listener::chains);
    for wanted in chains.flat_map(wanted_by) {
        if wanted.is_empty() || config.cluster(wanted).is_some() {
            continue;
        }
        let help = match nearest(wanted, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if config.clusters.is_empty() => "no clusters are defined".to_owned(),
            None => format!("defined clusters: {}", list(names())),
        };
        let message = format!("there is no cluster `{wanted}`");
        problems.push(Problem::new(wanted.span, message).help(help));
    }
}

/// Clusters that modules come from, and that have what they do not come from.
pub(crate) fn origins(config: &Config, problems: &mut Problems) {
    for (_, filter) in config.filters() {
        for wasm in filter.versions() {
            let Code::Remote(remote) = &wasm.vm_config.code.value else {
                continue;
            };
            let Some(name) = &remote.cluster else {
                continue;
            };
            let cluster = config.cluster(name);
            let endpoints = cluster.map_or(&[][..], |cluster| &cluster.endpoints);
            let is_unix = |endpoint: &&ClusterEndpoint| endpoint.address.port().is_none();
            if let Some(endpoint) = endpoints.iter().find(is_unix) {
                let message = format!("modules are not fetched from Unix sockets, as `{name}` has");
                let problem = Problem::new(name.span, message);
                problems.push(problem.related(endpoint.address.span, "it stands here"));
            }
        }
    }
}

/// The clusters that a filter chain names.
fn wanted_by(chain: &FilterChain) -> impl Iterator<Item = &Spanned<String>> {
    let tcp = chain.tcp.iter().map(|tcp| &tcp.cluster);
    let filters = chain.http_filters.iter();
    let filters = filters.chain(&chain.network_filters);
    let filters = filters.chain(&chain.access_loggers);
    let code = filters.filter_map(|filter| match &filter.wasm.vm_config.code.value {
        Code::Remote(remote) => remote.cluster.as_ref(),
        Code::File(_) | Code::Inline(_) | Code::Environment(_) => None,
    });
    let hosts = chain.virtual_hosts.iter();
    let mirrors = hosts.flat_map(|host| &host.request_mirror_policies);
    tcp.chain(mirrors.map(|mirror| &mirror.cluster))
        .chain(chain.routes().flat_map(Route::clusters))
        .chain(code)
}

/// Domains that two virtual hosts would share.
fn unique_domains<'c>(domains: impl Iterator<Item = &'c Spanned<String>>, problems: &mut Problems) {
    let mut first: HashMap<String, Span> = HashMap::new();
    for domain in domains.filter(|domain| !domain.is_empty()) {
        let folded = domain.to_ascii_lowercase();
        if let Some(earlier) = first.get(&folded) {
            let message = format!("the domain `{domain}` is taken already");
            let problem = Problem::new(domain.span, message);
            problems.push(problem.related(*earlier, "it is taken here"));
        } else {
            first.insert(folded, domain.span);
        }
    }
}

fn unique<'c>(
    names: impl Iterator<Item = &'c Spanned<String>>,
    what: &str,
    problems: &mut Problems,
) {
    let mut first: HashMap<&str, Span> = HashMap::new();
    for name in names.filter(|name| !name.is_empty()) {
        if let Some(earlier) = first.get(name.as_str()) {
            let message = format!("another {what} is called `{name}` already");
            let problem = Problem::new(name.span, message);
            problems.push(problem.related(*earlier, "it is named here"));
        } else {
            first.insert(name, name.span);
        }
    }
}

/// Port 0 asks for any free port and clashes with nothing.
fn unique_addresses<'c>(
    addresses: impl Iterator<Item = &'c Spanned<Address>>,
    problems: &mut Problems,
) {
    let mut first: HashMap<&Address, Span> = HashMap::new();
    for address in addresses.filter(|address| !address.takes_any_port()) {
        if let Some(earlier) = first.get(&address.value) {
            let message = format!("the address `{address}` is taken already");
            let problem = Problem::new(address.span, message);
            problems.push(problem.related(*earlier, "it is taken here"));
        } else {
            first.insert(&address.value, address.span);
        }
    }
}
