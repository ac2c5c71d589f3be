//! What is different between two generations, thing by thing.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use weir_config::{Destination, PathMatch, Route, RouteAction, VirtualHost, WeightedCluster};

use super::{Change, Fate, Kind};
use crate::cluster::ClusterSpec;
use crate::filter::FilterVmSpec;
use crate::generation::{ChainSpec, Generation, ListenerSpec};
use crate::rollout::{Place, RolloutState};

/// Everything that is in one of them, or both.
pub(super) fn generations(before: &Generation, now: &Generation) -> Vec<Change> {
    let mut all = vms(before, now);
    listeners(before, now, &mut all);
    all.extend(clusters(&before.clusters, &now.clusters));
    all.extend(settings(before, now));
    all
}

/// What there is in both lists, and in one of them only; each in its order.
struct Pairs<'a, T> {
    both: Vec<(&'a T, &'a T)>,
    removed: Vec<&'a T>,
    added: Vec<&'a T>,
}

/// Whether two things are one, before and now.
type Same<'s, T> = &'s dyn Fn(&T, &T) -> bool;

/// What is the same by the first of `same` belongs together; then, of the rest, what is
/// by the second.
fn pairs<'a, T>(before: &'a [T], now: &'a [T], same: &[Same<'_, T>]) -> Pairs<'a, T> {
    let mut removed: Vec<&T> = before.iter().collect();
    let mut added: Vec<&T> = now.iter().collect();
    let mut both = Vec::new();
    for same in same {
        added.retain(|new| match removed.iter().position(|old| same(old, new)) {
            Some(place) => {
                both.push((removed.remove(place), *new));
                false
            }
            None => true,
        });
    }
    let place = |new: &T| now.iter().position(|other| std::ptr::eq(other, new));
    both.sort_by_key(|(_, new)| place(new));
    Pairs {
        both,
        removed,
        added,
    }
}

fn vms(before: &Generation, now: &Generation) -> Vec<Change> {
    let name = |vm: &FilterVmSpec| match vm.config.vm_id.as_str() {
        "" => vm.plugin_names(),
        id => format!("{} (vm_id {id})", vm.plugin_names()),
    };
    let found = pairs(
        &before.vms,
        &now.vms,
        &[
            &|old: &Arc<FilterVmSpec>, new: &Arc<FilterVmSpec>| Arc::ptr_eq(old, new),
            &|old, new| old.config.vm_id == new.config.vm_id && old.shares_plugins(new),
        ],
    );
    let both = found.both.iter().map(|(old, new)| {
        let details = if Arc::ptr_eq(old, new) {
            Vec::new()
        } else {
            old.differences(new)
        };
        Change::of_pair(Kind::Vm, name(new), details)
    });
    let added = found.added.iter();
    let added = added.map(|vm| Change::new(Kind::Vm, name(vm), Fate::Added));
    let removed = found.removed.iter();
    let removed = removed.map(|vm| Change::new(Kind::Vm, name(vm), Fate::Removed));
    both.chain(added).chain(removed).collect()
}

fn listeners(before: &Generation, now: &Generation, all: &mut Vec<Change>) {
    let found = pairs(
        &before.listeners,
        &now.listeners,
        &[
            &|old: &ListenerSpec, new: &ListenerSpec| old.key() == new.key(),
            &|old, new| old.name == new.name,
        ],
    );
    for (old, new) in &found.both {
        let mut details = Vec::new();
        if old.name != new.name {
            details.push(format!("was {}", old.name));
        }
        let moved = old.key() != new.key();
        if moved {
            details.push(format!("{} -> {}", old.address, new.address));
        }
        let several = old.has_several_chains() || new.has_several_chains();
        details.extend(listener(old, new));
        let chains = chains(old, new);
        let goes_on = |(old, new): &(&ChainSpec, &ChainSpec)| new.terms.goes_on_from(&old.terms);
        let keeps = !moved && chains.removed.is_empty() && chains.both.iter().all(goes_on);
        if !several {
            for (old, new) in &chains.both {
                details.extend(chain(before, old, now, new));
            }
        }
        let mut change = Change::of_pair(Kind::Listener, &new.name, details);
        if moved {
            change.fate = Fate::Moved;
        } else if !keeps {
            change.fate = Fate::Changed;
        }
        change.keeps_connections = Some(keeps);
        all.push(change);
        if several {
            all.extend(filter_chains(before, now, &chains, moved));
        }
    }
    for new in &found.added {
        let change = Change::new(Kind::Listener, &new.name, Fate::Added);
        all.push(change.details(vec![new.address.to_string()]));
    }
    for old in &found.removed {
        let mut change = Change::new(Kind::Listener, &old.name, Fate::Removed);
        change.keeps_connections = Some(false);
        all.push(change.details(vec![old.address.to_string()]));
    }
    for (old, new) in &found.both {
        for (old, new) in chains(old, new).both {
            routes(&new.label, &old.hosts, &new.hosts, all);
        }
    }
}

/// The filter chains of a listener: those that connections go on in, and then those that
/// are called the same.
fn chains<'a>(old: &'a ListenerSpec, new: &'a ListenerSpec) -> Pairs<'a, ChainSpec> {
    pairs(
        &old.chains,
        &new.chains,
        &[
            &|old: &ChainSpec, new: &ChainSpec| old.terms.key == new.terms.key,
            &|old, new| old.label == new.label,
        ],
    )
}

/// What becomes of each of several filter chains.
fn filter_chains(
    before: &Generation,
    now: &Generation,
    chains: &Pairs<'_, ChainSpec>,
    moved: bool,
) -> Vec<Change> {
    let both = chains.both.iter().map(|(old, new)| {
        let mut details = Vec::new();
        if old.label != new.label {
            details.push(format!("was {}", old.label));
        }
        if old.terms.key != new.terms.key {
            details.push("match".to_owned());
        }
        details.extend(chain(before, old, now, new));
        let mut change = Change::of_pair(Kind::FilterChain, &new.label, details);
        change.keeps_connections = Some(!moved && new.terms.goes_on_from(&old.terms));
        change
    });
    let added = chains.added.iter();
    let added = added.map(|new| Change::new(Kind::FilterChain, &new.label, Fate::Added));
    let removed = chains.removed.iter().map(|old| {
        let mut change = Change::new(Kind::FilterChain, &old.label, Fate::Removed);
        change.keeps_connections = Some(false);
        change
    });
    both.chain(added).chain(removed).collect()
}

/// What else is different in a listener, in the words of its keys.
fn listener(old: &ListenerSpec, new: &ListenerSpec) -> Vec<String> {
    let different = [
        ("mode", old.mode != new.mode),
        ("original_dst", old.original_dst != new.original_dst),
        ("original_src", old.original_src != new.original_src),
        ("inspect", old.inspection != new.inspection),
        ("proxy_protocol", old.proxy_protocol != new.proxy_protocol),
        ("buffer_limit", old.buffer_limit != new.buffer_limit),
        (
            "max_connections",
            old.max_connections != new.max_connections,
        ),
        ("direction", old.direction != new.direction),
        ("metadata", old.metadata != new.metadata),
    ];
    let different = different.into_iter().filter(|(_, different)| *different);
    different.map(|(what, _)| what.to_owned()).collect()
}

/// What else is different in a filter chain, in the words of its keys.
fn chain(before: &Generation, old: &ChainSpec, now: &Generation, new: &ChainSpec) -> Vec<String> {
    let mut details = Vec::new();
    let mut note = |different: bool, what: &str| {
        if different {
            details.push(what.to_owned());
        }
    };
    let tcp = |generation: &Generation, chain: &ChainSpec| {
        let tcp = chain.tcp?;
        let cluster = generation.clusters.get(tcp.cluster?)?;
        Some((cluster.name.clone(), tcp.idle_timeout))
    };
    let same_tls = match (&old.terms.tls, &new.terms.tls) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (old, new) => old.is_none() && new.is_none(),
    };
    note(!same_tls, "tls");
    note(old.terms.http != new.terms.http, "http");
    note(tcp(before, old) != tcp(now, new), "tcp");
    note(old.headers != new.headers, "headers");
    note(old.istio != new.istio, "istio");
    note(old.access_log != new.access_log, "access_log");
    note(old.native != new.native, "rbac or cors");
    let places =
        |chain: &ChainSpec| -> Vec<_> { chain.filters.iter().map(|filter| filter.place).collect() };
    let filters = [
        ("filters", &places(old), &places(new)),
        ("access_loggers", &old.access_loggers, &new.access_loggers),
    ];
    for (what, old, new) in filters {
        let (old_names, new_names) = (names(before, old), names(now, new));
        if old_names != new_names {
            details.push(format!("{what}: [{old_names}] -> [{new_names}]"));
        } else if !same_vms(before, old, now, new) {
            details.push(format!("{what}: [{new_names}] with new VMs"));
        }
    }
    rollouts(old, new, &mut details);
    details
}

/// What becomes of other versions of filters.
fn rollouts(old: &ChainSpec, new: &ChainSpec, details: &mut Vec<String>) {
    let of = |chain: &ChainSpec| -> Vec<_> {
        let filters = chain.filters.iter();
        let rollouts = filters.filter_map(|filter| filter.rollout.as_ref());
        rollouts.map(|rollout| Arc::clone(&rollout.state)).collect()
    };
    let (old, new) = (of(old), of(new));
    let same = |old: &&Arc<RolloutState>, new: &&Arc<RolloutState>| old.filter == new.filter;
    for new in &new {
        let word = match old.iter().find(|old| same(old, &new)) {
            Some(old) if Arc::ptr_eq(old, new) => continue,
            Some(_) => "begins anew",
            None => "begins",
        };
        details.push(format!("rollout of {} {word}", new.filter));
    }
    for old in &old {
        if !new.iter().any(|new| same(&old, &new)) {
            details.push(format!("rollout of {} ends", old.filter));
        }
    }
}

/// Names of the plugins at these places, with commas.
fn names(generation: &Generation, places: &[Place]) -> String {
    let names = places.iter().map(|(vm, plugin)| {
        let plugin = generation
            .vms
            .get(*vm)
            .and_then(|vm| vm.plugins.get(*plugin));
        plugin.map_or("", |p| p.plugin.name.as_str())
    });
    names.collect::<Vec<_>>().join(", ")
}

fn same_vms(before: &Generation, old: &[Place], now: &Generation, new: &[Place]) -> bool {
    old.iter().zip(new).all(|(old, new)| {
        let vms = (before.vms.get(old.0), now.vms.get(new.0));
        let same = matches!(vms, (Some(old), Some(new)) if Arc::ptr_eq(old, new));
        same && old.1 == new.1
    })
}

fn routes(chain: &str, before: &[VirtualHost], now: &[VirtualHost], all: &mut Vec<Change>) {
    let found = pairs(
        before,
        now,
        &[&|old: &VirtualHost, new: &VirtualHost| old.name == new.name],
    );
    let host = |host: &VirtualHost| format!("{chain}/{}", host.name.value);
    for (old, new) in &found.both {
        routes_of_host(&host(new), old, new, all);
    }
    let added = found.added.iter();
    all.extend(added.map(|new| Change::new(Kind::Route, host(new), Fate::Added)));
    let removed = found.removed.iter();
    all.extend(removed.map(|old| Change::new(Kind::Route, host(old), Fate::Removed)));
}

fn routes_of_host(host: &str, old: &VirtualHost, new: &VirtualHost, all: &mut Vec<Change>) {
    let mut details = Vec::new();
    if old.domains != new.domains {
        details.push("domains".to_owned());
    }
    if old.metadata != new.metadata {
        details.push("metadata".to_owned());
    }
    let mut rest = old.clone();
    rest.domains.clone_from(&new.domains);
    rest.metadata.clone_from(&new.metadata);
    rest.routes.clone_from(&new.routes);
    if rest != *new {
        details.push("settings".to_owned());
    }
    let name = |route: &Route| format!("{host}/{}", label(route));
    let found = pairs(
        &old.routes,
        &new.routes,
        &[&|old: &Route, new: &Route| old == new, &|old, new| {
            label(old) == label(new)
        }],
    );
    if !in_order(&old.routes, &found.both) {
        details.push("order of routes".to_owned());
    }
    if !details.is_empty() {
        all.push(Change::of_pair(Kind::Route, host, details));
    }
    for (old, new) in &found.both {
        let mut details = Vec::new();
        if old.matches != new.matches {
            details.push("match".to_owned());
        }
        if target(old) != target(new) {
            details.push(format!("{} -> {}", target(old), target(new)));
        } else if old.action != new.action {
            details.push("action".to_owned());
        }
        if old != new && details.is_empty() {
            details.push("settings".to_owned());
        }
        all.push(Change::of_pair(Kind::Route, name(new), details));
    }
    let added = found.added.iter();
    all.extend(added.map(|r| Change::new(Kind::Route, name(r), Fate::Added)));
    let removed = found.removed.iter();
    all.extend(removed.map(|r| Change::new(Kind::Route, name(r), Fate::Removed)));
}

/// Whether what is in both, in its new order, is in that of `old` too.
fn in_order<T>(old: &[T], both: &[(&T, &T)]) -> bool {
    let place = |list: &[T], item: &T| list.iter().position(|other| std::ptr::eq(other, item));
    both.is_sorted_by_key(|(o, _)| place(old, o))
}

/// What a route is called: its name or, without one, what it matches.
fn label(route: &Route) -> String {
    if !route.name.is_empty() {
        return route.name.clone();
    }
    match &route.matches.path.value {
        PathMatch::Prefix(text) => format!("prefix {text}"),
        PathMatch::Exact(text) => format!("path {text}"),
        PathMatch::SeparatedPrefix(text) => format!("path_separated_prefix {text}"),
        PathMatch::Regex(text) => format!("regex {text}"),
        PathMatch::Template(text) => format!("path_template {text}"),
        PathMatch::Connect => "connect".to_owned(),
    }
}

/// Where a route leads.
fn target(route: &Route) -> String {
    match &route.action {
        RouteAction::Forward(forward) => match &forward.destination {
            Destination::Cluster(name) => name.value.clone(),
            Destination::Weighted(clusters) => {
                let part = |c: &WeightedCluster| format!("{} {}", c.weight, c.name.value);
                clusters.iter().map(part).collect::<Vec<_>>().join(" + ")
            }
            Destination::Header(name) => format!("by {name}"),
        },
        RouteAction::Redirect(_) => "redirect".to_owned(),
        RouteAction::DirectResponse(_) => "direct_response".to_owned(),
    }
}

fn clusters(before: &[Arc<ClusterSpec>], now: &[Arc<ClusterSpec>]) -> Vec<Change> {
    let found = pairs(
        before,
        now,
        &[&|old: &Arc<ClusterSpec>, new: &Arc<ClusterSpec>| old.name == new.name],
    );
    let both = found.both.iter().map(|(old, new)| {
        let details = if Arc::ptr_eq(old, new) {
            Vec::new()
        } else {
            let mut details = cluster(&old.config, &new.config);
            if details.is_empty() {
                // What its files say is all that is left.
                details.push("tls".to_owned());
            }
            details
        };
        Change::of_pair(Kind::Cluster, &new.name, details)
    });
    let added = found.added.iter();
    let added = added.map(|c| Change::new(Kind::Cluster, &c.name, Fate::Added));
    let removed = found.removed.iter();
    let removed = removed.map(|c| Change::new(Kind::Cluster, &c.name, Fate::Removed));
    both.chain(added).chain(removed).collect()
}

/// What is different in a cluster, in the words of its keys.
fn cluster(old: &weir_config::Cluster, new: &weir_config::Cluster) -> Vec<String> {
    let mut details = Vec::new();
    let set = |cluster: &weir_config::Cluster| {
        let all = cluster.endpoints.iter().map(|e| e.address.value.clone());
        all.collect::<HashSet<_>>()
    };
    let (before, now) = (set(old), set(new));
    let missing = |from: &HashSet<_>, of: &HashSet<_>, sign: char| sorted(of, from, sign);
    details.extend(missing(&before, &now, '+'));
    details.extend(missing(&now, &before, '-'));
    if before == now && old.endpoints != new.endpoints {
        let is_same = |e| old.endpoints.contains(e);
        let what = if new.endpoints.iter().all(is_same) {
            "order of endpoints"
        } else {
            "endpoints"
        };
        details.push(what.to_owned());
    }
    let mut rest = old.clone();
    rest.endpoints.clone_from(&new.endpoints);
    if rest != *new {
        details.push("settings".to_owned());
    }
    details
}

/// What is in `of` and not in `from`, each with the sign in front.
fn sorted<T: Eq + Hash + fmt::Display>(
    of: &HashSet<T>,
    from: &HashSet<T>,
    sign: char,
) -> Vec<String> {
    let mut all: Vec<_> = of.difference(from).map(|e| format!("{sign}{e}")).collect();
    all.sort_unstable();
    all
}

fn settings(before: &Generation, now: &Generation) -> Vec<Change> {
    let node = |generation: &Generation| generation.chains().next().map(|c| c.facts.node.clone());
    let tracing = |generation: &Generation| generation.tracer.as_ref().map(|t| t.config.clone());
    let different = [
        ("drain_delay", before.drain.delay != now.drain.delay),
        ("drain_timeout", before.drain.timeout != now.drain.timeout),
        ("tracing", tracing(before) != tracing(now)),
        ("callouts", before.callouts != now.callouts),
        ("node", node(before) != node(now)),
    ];
    let changed = different.iter().filter(|(_, different)| *different);
    changed
        .map(|(name, _)| Change::new(Kind::Setting, *name, Fate::Changed))
        .collect()
}
