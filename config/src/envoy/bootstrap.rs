//! Envoy's `config.bootstrap.v3.Bootstrap`.

use std::sync::Arc;
use std::time::Duration;

use super::elsewhere::{self, Kind};
use super::message::Message;
use super::reader::Reader;
use super::{address, cluster, dynamic, listener, route, secret};
use crate::admin::Admin;
use crate::callouts::Callouts;
use crate::config::Config;
use crate::defaults::DRAIN_TIMEOUT;
use crate::error::Problem;
use crate::identity::{Locality, Node};
use crate::modules::Modules;
use crate::source::Source;
use crate::yaml;

/// The whole of a bootstrap.
pub(super) fn read(reader: &Reader, root: &yaml::Node, source: &Arc<Source>) -> Config {
    let bootstrap = Message::open(reader, root, String::new());
    let mut config = Config {
        workers: None,
        node: bootstrap.message("node").map_or_else(Node::default, node),
        admin: bootstrap.message("admin").map(|message| admin(&message)),
        listeners: Vec::new(),
        clusters: Vec::new(),
        callouts: Callouts::of_envoy(),
        compile_cache: None,
        modules: Modules::default(),
        tracing: None,
        dynamic_resources: bootstrap
            .message("dynamic_resources")
            .and_then(|message| dynamic::read(&message)),
        drain_delay: Duration::ZERO,
        drain_timeout: DRAIN_TIMEOUT,
        source: Arc::clone(source),
    };
    let Some(resources) = bootstrap.message("static_resources") else {
        bootstrap.missing("static_resources");
        return config;
    };
    for extension in bootstrap.messages("bootstrap_extensions") {
        let name = extension.nonempty("name").unwrap_or_default();
        let typed = extension.typed("typed_config");
        elsewhere::note(Kind::BootstrapExtension, &extension, &name, typed);
    }
    for message in resources.messages("secrets") {
        if let Some((name, secret)) = secret::read(&message) {
            reader.secrets.borrow_mut().insert(name, secret);
        }
    }
    let listeners = resources.messages("listeners");
    let dynamic = config.dynamic_resources.as_ref();
    if listeners.is_empty() && !dynamic.is_some_and(|dynamic| dynamic.listeners) {
        let path = resources.path_of("listeners");
        let problem = Problem::new(resources.at(), format!("{path} has no listener"));
        reader.problem(problem);
    }
    config.listeners = listeners.iter().map(listener::read).collect();
    let clusters = resources.messages("clusters");
    let mut missing = Vec::new();
    for message in &clusters {
        match cluster::read(message) {
            Some(cluster) => config.clusters.push(cluster),
            None => missing.extend(message.nonempty("name")),
        }
    }
    missing.retain(|name| config.cluster(name).is_none());
    if let Some(dynamic) = &config.dynamic_resources
        && !dynamic.cluster.is_empty()
        && config.cluster(&dynamic.cluster).is_none()
    {
        let text = format!("there is no static cluster `{}`", dynamic.cluster);
        let problem = Problem::new(dynamic.cluster.span, text);
        reader.problem(problem.help("the management server is in one"));
    }
    route::close_ways(reader, &missing, &mut config.listeners);
    config
}

#[allow(clippy::needless_pass_by_value)] // It ends here, and says what it has not been asked for.
fn node(message: Message<'_, '_>) -> Node {
    let text = |name| message.nonempty(name).unwrap_or_default();
    let locality = message.message("locality");
    Node {
        id: text("id"),
        cluster: text("cluster"),
        metadata: message.object("metadata"),
        locality: locality.map_or_else(Locality::default, |locality| {
            let text = |name| locality.nonempty(name).unwrap_or_default();
            Locality {
                region: text("region"),
                zone: text("zone"),
                sub_zone: text("sub_zone"),
            }
        }),
    }
}

fn admin(message: &Message<'_, '_>) -> Admin {
    let log = message.text("access_log_path");
    if log.is_some_and(|path| path.value != "/dev/null" && !path.is_empty()) {
        message.refuse("access_log_path", "requests to the admin are not logged");
    }
    let (address, mode) = address::bound(message);
    Admin {
        address,
        mode,
        allowed_hosts: Vec::new(),
    }
}
