//! What metadata must say (Envoy's `MetadataMatcher` and `ValueMatcher`).

use serde_json::Value as Json;
use weir_config::{Metadata, MetadataSource};

use super::Subject;
use crate::route::TextMatcher;

#[derive(Debug)]
pub(super) struct MetadataMatcher {
    pub(super) source: MetadataSource,
    pub(super) filter: String,
    pub(super) path: Vec<String>,
    pub(super) value: ValueMatcher,
    pub(super) invert: bool,
}

/// What a value must be like; one that is not there is like nothing.
#[derive(Debug)]
pub(super) enum ValueMatcher {
    Null,
    Text(TextMatcher),
    Bool(bool),
    Present(bool),
    List(Box<Self>),
    Or(Vec<Self>),
}

impl MetadataMatcher {
    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        let found = match self.source {
            MetadataSource::Dynamic => {
                let metadata = subject.info.map(|info| info.dynamic_metadata());
                metadata.is_some_and(|metadata| self.holds(&metadata))
            }
            MetadataSource::Route => {
                let route = subject.info.and_then(|info| info.route.borrow().clone());
                // Without a route there is nothing to be inverted either.
                return route.is_some_and(|route| self.holds(&route.metadata) != self.invert);
            }
        };
        found != self.invert
    }

    fn holds(&self, metadata: &Metadata) -> bool {
        let mut namespaces = metadata.namespaces.iter();
        let found = namespaces.find(|(name, _)| *name == self.filter);
        let Some(((_, object), (first, rest))) = found.zip(self.path.split_first()) else {
            return false;
        };
        let value = rest
            .iter()
            .try_fold(object.get(first), |value, key| Some(value?.get(key)));
        value
            .flatten()
            .is_some_and(|value| self.value.matches(value))
    }
}

impl ValueMatcher {
    fn matches(&self, value: &Json) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Text(text) => value.as_str().is_some_and(|v| text.matches(v.as_bytes())),
            Self::Bool(wanted) => value.as_bool() == Some(*wanted),
            Self::Present(wanted) => *wanted,
            Self::List(item) => {
                let items = value.as_array();
                items.is_some_and(|items| items.iter().any(|value| item.matches(value)))
            }
            Self::Or(all) => all.iter().any(|one| one.matches(value)),
        }
    }
}
