//! The attributes that an expression names, looked up as `proxy_get_property` does.

use std::collections::{BTreeMap, HashMap};

use cel::Value;
use cel::objects::Key;

use super::encode;
use crate::context::Context;
use crate::host::{Property, PropertyError};
use crate::imports::properties;
use crate::vm_state::VmState;

/// Groups that have no encoding as a whole; all but the last need a stream.
const OPAQUE: [&str; 8] = [
    "request",
    "response",
    "connection",
    "source",
    "destination",
    "upstream",
    "filter_state",
    "xds",
];

pub(super) fn is_opaque(name: &str) -> bool {
    OPAQUE.contains(&name)
}

/// What is found at a place of the tree of attributes.
#[derive(Default)]
struct Place {
    value: Option<Value>,
    below: BTreeMap<String, Place>,
}

/// The variables for `paths`, by name. What is not found is not there.
pub(super) fn of(
    state: &VmState,
    context: &Context,
    paths: &[Vec<String>],
) -> Vec<(String, Value)> {
    let mut top = Place::default();
    for path in paths {
        let mut place = &mut top;
        for (at, name) in path.iter().enumerate() {
            let known = place.below.contains_key(name);
            let found = if known {
                None
            } else {
                match look_up(state, context, &path[..=at]) {
                    Ok(value) => value,
                    Err(()) => break,
                }
            };
            place = place.below.entry(name.clone()).or_default();
            if !known {
                place.value = found;
            }
        }
    }
    let variables = top.below.into_iter();
    variables
        .map(|(name, place)| (name, place.into_value()))
        .collect()
}

/// What stands at a path: a value, or a group that has none itself.
fn look_up(state: &VmState, context: &Context, path: &[String]) -> Result<Option<Value>, ()> {
    let segments: Vec<&[u8]> = path.iter().map(String::as_bytes).collect();
    if let [group] = path
        && is_opaque(group)
    {
        let there = context.stream().is_some() || group == "xds";
        return if there { Ok(None) } else { Err(()) };
    }
    // What filters have set is bytes, and so are messages; all else is text.
    let text = match path {
        [name] => matches!(
            name.as_str(),
            "plugin_name" | "plugin_root_id" | "plugin_vm_id"
        ),
        [group, ..] => !group.ends_with("filter_state"),
        [] => false,
    };
    match properties::lookup(state, context, &segments) {
        Ok(property @ Property::Map(_)) => Ok(Some(encode::value(property, text))),
        Ok(property) => Ok(Some(encode::value(property, text))),
        Err(PropertyError::NotSerializable) if path.len() > 1 => Ok(Some(Value::Null)),
        Err(PropertyError::NotFound | PropertyError::NotSerializable) => Err(()),
    }
}

impl Place {
    fn into_value(self) -> Value {
        if self.below.is_empty() {
            return self
                .value
                .unwrap_or_else(|| Value::Map(HashMap::<String, Value>::new().into()));
        }
        let mut entries: HashMap<Key, Value> = match self.value {
            Some(Value::Map(map)) => map.map.as_ref().clone(),
            _ => HashMap::new(),
        };
        for (name, place) in self.below {
            entries.insert(Key::from(name), place.into_value());
        }
        Value::Map(entries.into())
    }
}
