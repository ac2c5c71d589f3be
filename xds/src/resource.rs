//! [`Resource`]: what a server says under a name.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use crate::judge::Rejection;
use crate::resource_type::ResourceType;

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

/// The first field of every type of resource, which is its name.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
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
        any: Any,
        version: &Arc<str>,
    ) -> Result<Self, Rejection> {
        if any.type_url != pb::Resource::type_url() {
            return Self::new(kind, place, None, any, Arc::clone(version));
        }
        let resource = pb::Resource::decode(any.value.as_slice()).map_err(|error| {
            let message = format!("number {} cannot be read: {error}", place + 1);
            Rejection::of_all(message)
        })?;
        let own = (!resource.version.is_empty()).then(|| resource.version.as_str().into());
        let version = own.unwrap_or_else(|| Arc::clone(version));
        Self::of_wrapped(kind, place, resource, Some(version))
    }

    /// Takes a resource from a delta, or from where it was wrapped.
    pub(crate) fn of_wrapped(
        kind: ResourceType,
        place: usize,
        resource: pb::Resource,
        version: Option<Arc<str>>,
    ) -> Result<Self, Rejection> {
        let version = version.unwrap_or_else(|| resource.version.as_str().into());
        let Some(any) = resource.resource else {
            return Err(Rejection::new(resource.name, "has no content"));
        };
        let name = (!resource.name.is_empty()).then_some(resource.name);
        Self::new(kind, place, name, any, version)
    }

    fn new(
        kind: ResourceType,
        place: usize,
        name: Option<String>,
        any: Any,
        version: Arc<str>,
    ) -> Result<Self, Rejection> {
        let number = place + 1;
        let refused = |name: Option<String>, message: String| match name {
            Some(name) => Rejection::new(name, message),
            None => Rejection::of_all(format!("number {number} {message}")),
        };
        if any.type_url != kind.url() {
            let message = format!("is a `{}` and not a `{}`", any.type_url, kind.url());
            return Err(refused(name, message));
        }
        let name = match name {
            Some(name) => name,
            None => match Named::decode(any.value.as_slice()) {
                Ok(named) => named.name,
                Err(error) => return Err(refused(None, format!("cannot be read: {error}"))),
            },
        };
        if name.is_empty() {
            return Err(refused(None, "has no name".to_owned()));
        }
        Ok(Self {
            name: name.into(),
            version,
            type_url: kind.url().into(),
            value: any.value.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(url: &str, value: &[u8]) -> Any {
        Any {
            type_url: url.to_owned(),
            value: value.to_vec(),
        }
    }

    fn read(any: Any) -> Result<Resource, Rejection> {
        Resource::of_any(ResourceType::Listener, 2, any, &"7".into())
    }

    #[test]
    fn a_name_is_read_from_the_first_field() {
        let resource = read(any(ResourceType::Listener.url(), b"\x0a\x01a\x12\x00")).unwrap();
        assert_eq!((&*resource.name, &*resource.version), ("a", "7"));
        assert_eq!(resource.value, b"\x0a\x01a\x12\x00".as_slice());
    }

    #[test]
    fn a_wrapped_resource_has_its_own_name_and_version() {
        let wrapped = pb::Resource {
            name: "b".to_owned(),
            version: "8".to_owned(),
            resource: Some(any(ResourceType::Listener.url(), b"")),
            ..Default::default()
        };
        let resource = read(any(&pb::Resource::type_url(), &wrapped.encode_to_vec())).unwrap();
        assert_eq!((&*resource.name, &*resource.version), ("b", "8"));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let told = |any| read(any).unwrap_err().to_string();
        let other = told(any(ResourceType::Cluster.url(), b""));
        assert!(other.starts_with("number 3 is a `type.googleapis.com/envoy.config.cluster"));
        let broken = told(any(ResourceType::Listener.url(), b"\xff"));
        assert!(broken.starts_with("number 3 cannot be read"), "{broken}");
        let unnamed = told(any(ResourceType::Listener.url(), b""));
        assert_eq!(unnamed, "number 3 has no name");
    }
}
