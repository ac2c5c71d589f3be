//! Single resources, as a management server sends them: in protobuf's JSON form, with
//! what they refer to in its place.

use serde_json::Value as Json;

use super::message::Message;
use super::reader::Reader;
use super::{Leniency, cluster, listener, rbac, route, secret, wasm};
use crate::check;
use crate::cluster::{Cluster, ClusterEndpoint};
use crate::config::Config;
use crate::error::{ConfigErrors, Problem};
use crate::filter_chain::FilterChain;
use crate::listener::Listener;
use crate::problems::Problems;
use crate::source::Span;
use crate::yaml;

/// The types of filters that come by themselves (ECDS).
const FILTERS: [&str; 2] = [
    "envoy.extensions.filters.http.wasm.v3.Wasm",
    "envoy.extensions.filters.network.wasm.v3.Wasm",
];

/// What a resource says, and what of it was passed over.
#[derive(Debug, Clone)]
pub struct Resource<T> {
    /// What it says.
    pub value: T,
    /// What was passed over, each by its path in the resource.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with a resource, by paths in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ResourceError(Vec<String>);

/// The outcome of reading one.
pub type Read<T> = Result<Resource<T>, ResourceError>;

/// The secrets that a resource may name.
#[derive(Debug, Clone, Copy)]
pub enum Secrets<'s> {
    /// Whatever it names will come: it is read for what else is wrong with it.
    Awaited,
    /// These are there.
    These(&'s [Json]),
}

/// Reads `config.listener.v3.Listener`.
///
/// # Errors
/// What is wrong with it, and what Weir does not have, as far as `leniency` says so.
pub fn read_listener(json: &Json, secrets: Secrets<'_>, leniency: Leniency) -> Read<Listener> {
    let read = read_with(json, secrets, leniency, listener::read)?;
    let mut problems = Problems::default();
    check::listener(&read.value, &mut problems);
    finish(read, problems)
}

/// Reads `config.cluster.v3.Cluster`; of what finds its endpoints, only what is in it.
///
/// # Errors
/// As [`read_listener`].
pub fn read_cluster(json: &Json, secrets: Secrets<'_>, leniency: Leniency) -> Read<Cluster> {
    let read = read_with(json, secrets, leniency, cluster::read)?;
    let Some(value) = read.value else {
        // Passed over, with a warning: whoever routes to it must know.
        return Err(ResourceError(read.warnings));
    };
    Ok(Resource {
        value,
        warnings: read.warnings,
    })
}

/// Reads `config.endpoint.v3.ClusterLoadAssignment`: those endpoints that requests may
/// go to.
///
/// # Errors
/// As [`read_listener`].
pub fn read_endpoints(json: &Json, leniency: Leniency) -> Read<Vec<ClusterEndpoint>> {
    read(json, leniency, |message| {
        // How it is spread is the cluster's business.
        message.inert("policy");
        message.inert("named_endpoints");
        cluster::endpoints(message)
    })
}

/// Reads `config.route.v3.RouteConfiguration`, for what is wrong with it.
///
/// # Errors
/// As [`read_listener`].
pub fn read_routes(json: &Json, leniency: Leniency) -> Read<()> {
    let mut chain = FilterChain::empty(Span::NOWHERE);
    let read = read(json, leniency, |message| {
        route::configuration(message, &mut chain);
    })?;
    let mut problems = Problems::default();
    check::hosts(&chain, "configuration", &mut problems);
    finish(read, problems)
}

/// Reads `config.core.v3.TypedExtensionConfig` with a wasm filter, or with policies in its
/// place, for what is wrong with it.
///
/// # Errors
/// As [`read_listener`]; and it is neither.
pub fn read_extension(json: &Json, leniency: Leniency) -> Read<()> {
    read(json, leniency, |message| {
        message.inert("name");
        let Some(typed) = message.typed("typed_config") else {
            message.missing("typed_config");
            return;
        };
        if FILTERS.contains(&typed.name.as_str()) {
            wasm::plugin(&typed.message);
        } else if typed.name == rbac::HTTP {
            // What an agent sends in the place of a filter that it cannot fetch.
            rbac::http(typed.message);
        } else if typed.name == rbac::NETWORK {
            rbac::network(typed.message);
        } else {
            let what = format!("the extension `{}`", typed.name);
            message.reader.never(message.at(), &what, "");
            typed.message.close();
        }
    })
}

/// Reads `extensions.transport_sockets.tls.v3.Secret`, for what is wrong with it.
///
/// # Errors
/// As [`read_listener`].
pub fn read_secret(json: &Json, leniency: Leniency) -> Read<()> {
    read(json, leniency, |message| {
        // What comes of it is for those that name it.
        let _ = secret::read(message);
    })
}

/// `base` with these listeners and clusters besides its own.
///
/// # Errors
/// Names or addresses clash.
pub fn assemble(
    base: &Config,
    listeners: impl IntoIterator<Item = Listener>,
    clusters: impl IntoIterator<Item = Cluster>,
) -> Result<Config, ConfigErrors> {
    let mut config = base.clone();
    config.listeners.extend(listeners);
    config.clusters.extend(clusters);
    let mut problems = Problems::default();
    check::listeners(&config, &mut problems);
    check::clusters(&config, &mut problems);
    problems.into_result(&config.source)?;
    Ok(config)
}

fn read<T>(json: &Json, leniency: Leniency, read: impl FnOnce(&Message<'_, '_>) -> T) -> Read<T> {
    read_with(json, Secrets::These(&[]), leniency, read)
}

fn read_with<T>(
    json: &Json,
    secrets: Secrets<'_>,
    leniency: Leniency,
    read: impl FnOnce(&Message<'_, '_>) -> T,
) -> Read<T> {
    let node = yaml::Node::of_json(json);
    let reader = Reader::of_resource(leniency);
    match secrets {
        Secrets::Awaited => *reader.secrets.borrow_mut() = secret::Secrets::awaited(),
        Secrets::These(secrets) => {
            for secret in secrets {
                let node = yaml::Node::of_json(secret);
                let message = Message::open(&reader, &node, String::new());
                if let Some((name, secret)) = secret::read(&message) {
                    reader.secrets.borrow_mut().insert(name, secret);
                }
            }
        }
    }
    let value = {
        let message = Message::open(&reader, &node, String::new());
        read(&message)
    };
    let (problems, warnings) = reader.into_parts();
    let warnings = texts(warnings);
    let resource = Resource { value, warnings };
    finish(resource, problems)
}

fn finish<T>(resource: Resource<T>, problems: Problems) -> Read<T> {
    let wrong = texts(problems);
    if wrong.is_empty() {
        Ok(resource)
    } else {
        Err(ResourceError(wrong))
    }
}

fn texts(problems: Problems) -> Vec<String> {
    let text = |problem: Problem| match problem.help.filter(|help| !help.is_empty()) {
        Some(help) => format!("{} ({help})", problem.message),
        None => problem.message,
    };
    problems.into_list().into_iter().map(text).collect()
}
