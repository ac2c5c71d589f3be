//! Envoy's own configuration: a static bootstrap, read as it is.
//!
//! The result is the [`Config`] that Weir's own form gives, with places that
//! point into the bootstrap. What Weir does not do is refused by its path and
//! name, or passed over with a warning; nothing is ignored in silence:
//! a [`message::Message`] reports every field that nobody has asked it for.

mod access_log;
mod address;
mod bootstrap;
mod cluster;
mod connection_manager;
mod cors;
mod dns;
mod dynamic;
mod elsewhere;
mod filter_chain;
mod hash_policy;
mod header_mutation;
mod health_check;
mod istio;
mod listener;
mod load_balancing;
mod message;
mod network_filter;
mod outlier_detection;
mod protocol_options;
mod rbac;
mod reader;
mod resource;
mod retry;
mod route;
mod route_match;
mod secret;
mod security;
mod transport;
mod typed;
mod values;
mod wasm;

use std::fmt;
use std::sync::Arc;

use crate::check;
use crate::config::{self, Config};
use crate::error::{ConfigError, ConfigErrors, Problem};
use crate::problems::Problems;
use crate::source::{Source, Span};
use crate::yaml;
use reader::Reader;

pub use dynamic::DynamicResources;
pub use resource::{
    Read, Resource, ResourceError, Secrets, assemble, read_cluster, read_endpoints, read_extension,
    read_listener, read_routes, read_secret,
};

/// What happens to fields and extensions that Weir does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leniency {
    /// They are errors.
    Strict,
    /// They are passed over, each with a warning.
    Lenient,
}

/// Something in a bootstrap that was passed over.
#[derive(Debug, Clone)]
pub struct Warning(ConfigError);

impl Warning {
    /// The message, without its place.
    pub fn message(&self) -> &str {
        self.0.message()
    }

    /// Without colour or drawing, as [`ConfigError::plain`].
    pub fn plain(&self) -> String {
        let text = self.0.plain();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        format!("warning: {text}")
    }

    /// `FILE:LINE:COLUMN: message`, for logs.
    pub fn line(&self) -> String {
        let at = self.0.position();
        let file = self.0.file().name();
        format!("{file}:{}:{}: {}", at.line, at.column, self.message())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plain().trim_end())
    }
}

/// What was passed over, in source order.
#[derive(Debug, Clone, Default)]
pub struct Warnings {
    list: Vec<Warning>,
    omitted: usize,
}

impl Warnings {
    /// The warnings.
    pub fn iter(&self) -> std::slice::Iter<'_, Warning> {
        self.list.iter()
    }

    /// How many more there are than [`Warnings::iter`] gives.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl<'a> IntoIterator for &'a Warnings {
    type Item = &'a Warning;
    type IntoIter = std::slice::Iter<'a, Warning>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Reads Envoy's static bootstrap, in YAML or JSON; `name` is what messages
/// call it.
///
/// The errors are everything that is wrong with it, in source order; and all
/// that Weir does not do, unless `leniency` makes warnings of it, which are
/// worth telling whether there are errors or not.
pub fn parse(
    name: &str,
    text: &str,
    leniency: Leniency,
) -> (Result<Config, ConfigErrors>, Warnings) {
    let source = match config::source(name, text) {
        Ok(source) => source,
        Err(errors) => return (Err(errors), Warnings::default()),
    };
    let mut problems = Problems::default();
    let root = yaml::compose(source.text(), &mut problems);
    let reader = Reader::new(leniency, problems);
    let config = root
        .filter(|root| !root.is_null())
        .map(|root| bootstrap::read(&reader, &root, &source));
    let (mut problems, warnings) = reader.into_parts();
    if let Some(config) = &config {
        // What is missing may only be so because it could not be read.
        let whole = problems.total() == 0;
        check::listeners(config, &mut problems);
        check::clusters(config, &mut problems);
        if whole && config.dynamic_resources.is_none() {
            check::references(config, &mut problems);
            check::origins(config, &mut problems);
        }
    }
    let result = problems.into_result(&source);
    let result = result.and_then(|()| config.ok_or_else(|| empty(&source)));
    let (list, omitted) = warnings.into_sorted(&source);
    let list = list.into_iter().map(Warning).collect();
    (result, Warnings { list, omitted })
}

fn empty(source: &Arc<Source>) -> ConfigErrors {
    let problem = Problem::new(Span::default(), "the bootstrap is empty");
    ConfigError::new(Arc::clone(source), problem).into()
}
