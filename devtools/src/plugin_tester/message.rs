//! [`Located`]: a message and the path on which it stands.

use bytes::Bytes;
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

/// A message, and its path for [`Places`](super::locate::Places).
#[derive(Debug, Clone)]
pub(super) struct Located {
    message: DynamicMessage,
    pub(super) path: String,
}

impl Located {
    /// The message as a whole.
    pub(super) fn root(message: DynamicMessage) -> Self {
        let path = String::new();
        Self { message, path }
    }

    /// The path of a field of it.
    pub(super) fn path_of(&self, field: &str, index: usize) -> String {
        match self.path.is_empty() {
            true => format!("{field}[{index}]"),
            false => format!("{}.{field}[{index}]", self.path),
        }
    }

    /// The value of a field that is set: one that is not at its default, or that knows
    /// whether it was given.
    fn value(&self, field: &str) -> Option<Value> {
        let descriptor = self.message.descriptor().get_field_by_name(field)?;
        let set = self.message.has_field(&descriptor);
        set.then(|| self.message.get_field(&descriptor).into_owned())
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.value(field).is_some()
    }

    pub(super) fn text(&self, field: &str) -> Option<String> {
        Some(self.value(field)?.as_str()?.to_owned())
    }

    pub(super) fn bytes(&self, field: &str) -> Option<Bytes> {
        Some(self.value(field)?.as_bytes()?.clone())
    }

    pub(super) fn flag(&self, field: &str) -> bool {
        self.value(field)
            .and_then(|value| value.as_bool())
            .unwrap_or(false)
    }

    /// A number of any width, or of an enum.
    pub(super) fn number(&self, field: &str) -> Option<i128> {
        Some(match self.value(field)? {
            Value::I32(number) | Value::EnumNumber(number) => number.into(),
            Value::I64(number) => number.into(),
            Value::U32(number) => number.into(),
            Value::U64(number) => number.into(),
            _ => return None,
        })
    }

    pub(super) fn message(&self, field: &str) -> Option<Self> {
        let message = self.value(field)?.as_message()?.clone();
        let path = self.path_of(field, 0);
        Some(Self { message, path })
    }

    pub(super) fn messages(&self, field: &str) -> Vec<Self> {
        let Some(Value::List(items)) = self.value(field) else {
            return Vec::new();
        };
        let located = |(index, item): (usize, &Value)| {
            let message = item.as_message()?.clone();
            let path = self.path_of(field, index);
            Some(Self { message, path })
        };
        items.iter().enumerate().filter_map(located).collect()
    }
}
