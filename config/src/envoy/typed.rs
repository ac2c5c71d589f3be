//! Extensions: a name and an `Any`.

use super::message::Message;

/// What the types of extensions begin with.
const TYPE_PREFIX: &str = "type.googleapis.com/";

/// Types that carry another type's fields as a `Struct`.
const TYPED_STRUCTS: [&str; 2] = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"];

/// An `Any` as a type and a message.
pub(super) struct Typed<'n, 'r> {
    /// Without the prefix that all types share.
    pub(super) name: String,
    pub(super) message: Message<'n, 'r>,
}

impl<'n, 'r> Message<'n, 'r> {
    /// A field that is an `Any`.
    pub(super) fn typed(&self, field: &'static str) -> Option<Typed<'n, 'r>> {
        let message = self.message(field)?;
        let name = type_of(&message, "@type")?;
        if !TYPED_STRUCTS.contains(&name.as_str()) {
            return Some(Typed { name, message });
        }
        let name = type_of(&message, "type_url")?;
        let Some(value) = message.message("value") else {
            message.missing("value");
            return None;
        };
        Some(Typed {
            name,
            message: value,
        })
    }
}

fn type_of(message: &Message<'_, '_>, field: &'static str) -> Option<String> {
    if message.node(field).is_none() {
        message.missing(field);
    }
    let url = message.text(field)?;
    let name = url.strip_prefix(TYPE_PREFIX).unwrap_or(&url.value);
    Some(name.to_owned())
}
