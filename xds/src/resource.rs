//! [`Resource`]: what a server says under a name.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::judge::Rejection;
use crate::resource_type::ResourceType;
use crate::wire::{Any, Named, WRAPPED, Wrapped};

/// A resource as it came: a message that nobody has read but for its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is asked for by.
    pub name: Arc<str>,
    /// The server's own version; of a state-of-the-world response, that of the response.
    pub version: Arc<str>,
    /// The URL of the message's type.
    pub type_url: Arc<str>,
    /// The message.
    pub value: Bytes,
}

impl Resource {
    /// Whether the other one says the same, whatever its version is.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.type_url == other.type_url && self.value == other.value
    }

    /// Bytes that it is counted for.
    pub(crate) fn size(&self) -> usize {
        self.name.len() + self.version.len() + self.value.len()
    }

    /// Takes a resource from a state-of-the-world response, where it is the message
    /// itself or wrapped; `place` is where it stands there, from 0.
    pub(crate) fn of_any(
        kind: ResourceType,
        place: usize,
        bytes: Bytes,
        version: &Arc<str>,
    ) -> Result<Self, Rejection> {
        let any: Any = decode(place, bytes)?;
        if any.type_url == WRAPPED {
            let mut resource: Wrapped = decode(place, any.value)?;
            if resource.version.is_empty() {
                resource.version = (**version).to_owned();
            }
            return Self::of_wrapped(kind, place, resource);
        }
        Self::new(kind, place, None, &any, Arc::clone(version))
    }

    /// Takes a resource from a delta.
    pub(crate) fn of_delta(
        kind: ResourceType,
        place: usize,
        bytes: Bytes,
    ) -> Result<Self, Rejection> {
        Self::of_wrapped(kind, place, decode(place, bytes)?)
    }

    fn of_wrapped(kind: ResourceType, place: usize, resource: Wrapped) -> Result<Self, Rejection> {
        let Some(any) = resource.resource else {
            return Err(Rejection::new(resource.name, "has no content"));
        };
        let name = (!resource.name.is_empty()).then_some(resource.name);
        Self::new(kind, place, name, &any, resource.version.into())
    }

    fn new(
        kind: ResourceType,
        place: usize,
        name: Option<String>,
        any: &Any,
        version: Arc<str>,
    ) -> Result<Self, Rejection> {
        let refused = |name: Option<String>, message: String| match name {
            Some(name) => Rejection::new(name, message),
            None => of_place(place, &message),
        };
        if any.type_url != kind.url() {
            let message = format!("is a `{}` and not a `{}`", any.type_url, kind.url());
            return Err(refused(name, message));
        }
        let name = match name {
            Some(name) => name,
            None => decode::<Named>(place, any.value.clone())?.name,
        };
        if name.is_empty() {
            return Err(refused(None, "has no name".to_owned()));
        }
        Ok(Self {
            name: name.into(),
            version,
            type_url: kind.url().into(),
            // A copy: it must not keep the whole response in memory.
            value: Bytes::copy_from_slice(&any.value),
        })
    }
}

fn of_place(place: usize, message: &str) -> Rejection {
    Rejection::of_all(format!("number {} {message}", place + 1))
}

fn decode<M: Message + Default>(place: usize, bytes: Bytes) -> Result<M, Rejection> {
    M::decode(bytes).map_err(|error| of_place(place, &format!("cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(url: &str, value: &[u8]) -> Any {
        Any {
            type_url: url.to_owned(),
            value: Bytes::copy_from_slice(value),
        }
    }

    fn read(any: &Any) -> Result<Resource, Rejection> {
        let bytes = any.encode_to_vec().into();
        Resource::of_any(ResourceType::Listener, 2, bytes, &"7".into())
    }

    #[test]
    fn a_name_is_read_from_the_first_field() {
        let resource = read(&any(ResourceType::Listener.url(), b"\x0a\x01a\x12\x00")).unwrap();
        assert_eq!((&*resource.name, &*resource.version), ("a", "7"));
        assert_eq!(resource.value, b"\x0a\x01a\x12\x00".as_slice());
    }

    #[test]
    fn a_wrapped_resource_has_its_own_name_and_version() {
        let wrapped = Wrapped {
            name: "b".to_owned(),
            version: "8".to_owned(),
            resource: Some(any(ResourceType::Listener.url(), b"")),
        };
        let resource = read(&any(WRAPPED, &wrapped.encode_to_vec())).unwrap();
        assert_eq!((&*resource.name, &*resource.version), ("b", "8"));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let told = |any| read(&any).unwrap_err().to_string();
        let other = told(any(ResourceType::Cluster.url(), b""));
        assert!(other.starts_with("number 3 is a `type.googleapis.com/envoy.config.cluster"));
        let broken = told(any(ResourceType::Listener.url(), b"\xff"));
        assert!(broken.starts_with("number 3 cannot be read"), "{broken}");
        let unnamed = told(any(ResourceType::Listener.url(), b""));
        assert_eq!(unnamed, "number 3 has no name");
    }
}
