//! `declare_property`: how long a property that guests set lives, and whether it
//! can be set again (Envoy, `declare_property.proto`).

use std::cell::RefCell;

use rustc_hash::FxHashMap;

use super::message::{Value, fields};
use super::{Call, Given};
use crate::context::Context;
use crate::host::{LifeSpan, PropertyRule};
use crate::limits::DECLARATIONS_MAX;
use crate::types::Status;

/// The properties that one context has declared. Those of a root context hold
/// for its streams; those of a stream hold for nothing, as in Envoy, but cannot
/// be declared again either.
#[derive(Default, Clone)]
pub(crate) struct Declarations(RefCell<FxHashMap<Vec<u8>, PropertyRule>>);

impl Declarations {
    /// Becomes what `others` are.
    pub(crate) fn replace(&self, others: &Self) {
        self.0.replace(others.0.borrow().clone());
    }

    /// What was declared of the property `name`.
    pub(crate) fn rule(&self, name: &[u8]) -> PropertyRule {
        self.0.borrow().get(name).copied().unwrap_or_default()
    }

    fn declare(&self, name: &[u8], rule: PropertyRule) -> Result<(), Status> {
        let mut declared = self.0.borrow_mut();
        if declared.contains_key(name) || declared.len() >= DECLARATIONS_MAX {
            return Err(Status::BadArgument);
        }
        declared.insert(name.to_vec(), rule);
        Ok(())
    }
}

/// Type and schema matter to nobody here: a property is bytes.
pub(super) fn declare(call: &Call<'_>) -> Result<Given, Status> {
    let (mut name, mut rule) = (&b""[..], PropertyRule::default());
    for field in fields(call.argument) {
        match field.ok_or(Status::BadArgument)? {
            (1, Value::Bytes(text)) => name = text,
            (2, Value::Varint(n)) => rule.read_only = n != 0,
            (5, Value::Varint(n)) => rule.span = span(n),
            _ => {}
        }
    }
    std::str::from_utf8(name).map_err(|_| Status::BadArgument)?;
    match call.context {
        Context::Root(root) => root.declared.declare(name, rule)?,
        Context::Stream(stream) => stream.declared.declare(name, rule)?,
        Context::Connection(connection) => connection.declared.declare(name, rule)?,
    }
    Ok(None)
}

/// A span by its number; Envoy takes an unknown one for the shortest.
pub(super) fn span(number: u64) -> LifeSpan {
    match number {
        1 => LifeSpan::Request,
        2 => LifeSpan::Connection,
        _ => LifeSpan::FilterChain,
    }
}
