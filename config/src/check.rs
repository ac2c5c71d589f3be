//! What no single block can know: names that clash, references to nothing.
//!
//! An empty name stands for one that could not be read; it clashes with none.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::config::Config;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{list, nearest};
use crate::source::{Span, Spanned};

pub(crate) fn listeners(config: &Config, problems: &mut Problems) {
    let names = config.listeners.iter().map(|listener| &listener.name);
    unique(names, "listener", problems);
    for listener in &config.listeners {
        let names = listener.http_filters.iter().map(|filter| &filter.name);
        unique(names, "filter of this listener", problems);
    }
    let admin = config.admin.iter().map(|admin| &admin.address);
    let addresses = config.listeners.iter().map(|listener| &listener.address);
    unique_addresses(admin.chain(addresses), problems);
}

pub(crate) fn clusters(config: &Config, problems: &mut Problems) {
    let names = config.clusters.iter().map(|cluster| &cluster.name);
    unique(names, "cluster", problems);
}

/// Routes to clusters that do not exist.
pub(crate) fn references(config: &Config, problems: &mut Problems) {
    let names = || config.clusters.iter().map(|cluster| cluster.name.as_str());
    if names().any(str::is_empty) {
        // One that could not be read may be the one that is meant.
        return;
    }
    for route in config
        .listeners
        .iter()
        .flat_map(|listener| &listener.routes)
    {
        let wanted = &route.cluster;
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
    addresses: impl Iterator<Item = &'c Spanned<SocketAddr>>,
    problems: &mut Problems,
) {
    let mut first: HashMap<SocketAddr, Span> = HashMap::new();
    for address in addresses.filter(|address| address.port() != 0) {
        if let Some(earlier) = first.get(&address.value) {
            let message = format!("the address `{address}` is taken already");
            let problem = Problem::new(address.span, message);
            problems.push(problem.related(*earlier, "it is taken here"));
        } else {
            first.insert(address.value, address.span);
        }
    }
}
