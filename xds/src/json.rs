//! [`Resource::to_json`]: a resource as Envoy's configuration files write it.

use std::borrow::Cow;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value,
};
use serde_json::{Map, Value as Json};

use crate::resource::Resource;

/// Envoy's messages; services and what only they have are left out.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Messages inside one another, also through `Any`: Envoy's parser takes 100.
const MAX_DEPTH: usize = 100;

/// The package of the types whose JSON is not that of their fields.
const WELL_KNOWN: &str = "google.protobuf.";
const ANY: &str = "google.protobuf.Any";

/// Why a resource cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The type of the message, or of what it carries, is known, and this is none.
    #[error("a `{name}` cannot be read: {source}")]
    Decode {
        /// The full name of the message.
        name: String,
        /// What is wrong with its bytes.
        source: prost::DecodeError,
    },
    /// The type of the resource itself is not known.
    #[error("the type `{0}` is not known")]
    Unknown(String),
    /// Messages stand too deep inside one another.
    #[error("messages are more than {MAX_DEPTH} deep inside one another")]
    Deep,
    /// What a well-known type holds is outside of what it may.
    #[error("a `{name}` is none: {source}")]
    WellKnown {
        /// The full name of the message.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Resource {
    /// The resource in protobuf's JSON form, with the names of fields as they are
    /// declared, and without those that are not set. Of an `Any` whose type is not known
    /// there is nothing but `@type`.
    ///
    /// # Errors
    /// It is not what its type says.
    pub fn to_json(&self) -> Result<Json, JsonError> {
        let name = type_name(&self.type_url);
        let message = decode(name, &self.value)?;
        let message = message.ok_or_else(|| JsonError::Unknown(name.to_owned()))?;
        message_json(&message, 0)
    }
}

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        // Whether they can be read is a test's business.
        DescriptorPool::decode(DESCRIPTORS).unwrap_or_default()
    })
}

fn type_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// `None` if the type is not known.
fn decode(name: &str, bytes: &[u8]) -> Result<Option<DynamicMessage>, JsonError> {
    let Some(descriptor) = pool().get_message_by_name(name) else {
        return Ok(None);
    };
    let message = DynamicMessage::decode(descriptor, bytes);
    let message = message.map_err(|source| JsonError::Decode {
        name: name.to_owned(),
        source,
    });
    message.map(Some)
}

fn message_json(message: &DynamicMessage, depth: usize) -> Result<Json, JsonError> {
    if depth > MAX_DEPTH {
        return Err(JsonError::Deep);
    }
    let descriptor = message.descriptor();
    let name = descriptor.full_name();
    if name == ANY {
        return any_json(message, depth);
    }
    if name.starts_with(WELL_KNOWN) {
        let json = serde_json::to_value(message);
        let mut json = json.map_err(|source| JsonError::WellKnown {
            name: name.to_owned(),
            source,
        })?;
        // A `Struct` has no order on the wire, and is always written in the same one.
        json.sort_all_objects();
        return Ok(json);
    }
    let mut map = Map::new();
    for (field, value) in message.fields() {
        map.insert(field.name().to_owned(), field_json(&field, value, depth)?);
    }
    Ok(Json::Object(map))
}

fn field_json(field: &FieldDescriptor, value: &Value, depth: usize) -> Result<Json, JsonError> {
    match value {
        Value::List(items) => {
            let items = items
                .iter()
                .map(|item| value_json(&field.kind(), item, depth));
            items.collect::<Result<_, _>>().map(Json::Array)
        }
        Value::Map(entries) => {
            let Kind::Message(entry) = field.kind() else {
                return Ok(Json::Null);
            };
            let kind = entry.map_entry_value_field().kind();
            let entry = |(key, value)| Ok((key_text(key), value_json(&kind, value, depth)?));
            let mut entries = entries.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
            entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            Ok(Json::Object(entries.into_iter().collect()))
        }
        value => value_json(&field.kind(), value, depth),
    }
}

fn value_json(kind: &Kind, value: &Value, depth: usize) -> Result<Json, JsonError> {
    Ok(match value {
        Value::Bool(value) => (*value).into(),
        Value::I32(value) => (*value).into(),
        Value::I64(value) => (*value).into(),
        Value::U32(value) => (*value).into(),
        Value::U64(value) => (*value).into(),
        Value::F32(value) => number(f64::from(*value)),
        Value::F64(value) => number(*value),
        Value::String(value) => value.as_str().into(),
        Value::Bytes(value) => STANDARD.encode(value).into(),
        Value::EnumNumber(number) => {
            let name = match kind {
                Kind::Enum(descriptor) => descriptor.get_value(*number),
                _ => None,
            };
            name.map_or_else(|| (*number).into(), |name| name.name().into())
        }
        Value::Message(message) => message_json(message, depth + 1)?,
        // Neither has items of its own kind.
        Value::List(_) | Value::Map(_) => Json::Null,
    })
}

/// What is no number is written as a text.
fn number(value: f64) -> Json {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Json::Number)
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn any_json(any: &DynamicMessage, depth: usize) -> Result<Json, JsonError> {
    let url = any.get_field_by_name("type_url");
    let url = url.as_deref().and_then(Value::as_str).unwrap_or_default();
    let bytes = any.get_field_by_name("value").map(Cow::into_owned);
    let bytes = bytes.as_ref().and_then(Value::as_bytes);
    if url.is_empty() {
        // It says nothing.
        return Ok(Json::Null);
    }
    let name = type_name(url);
    let mut map = Map::new();
    map.insert("@type".to_owned(), url.into());
    if let Some(message) = decode(name, bytes.map_or(&[], |bytes| &**bytes))? {
        match message_json(&message, depth + 1)? {
            Json::Object(fields) if !name.starts_with(WELL_KNOWN) => map.extend(fields),
            value => {
                map.insert("value".to_owned(), value);
            }
        }
    }
    Ok(Json::Object(map))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::cluster::v3::Cluster;
    use envoy_types::pb::envoy::config::cluster::v3::cluster::{
        ClusterDiscoveryType, DiscoveryType,
    };
    use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
    use envoy_types::pb::google::protobuf::{Any, Duration, UInt32Value};
    use prost::Message as _;
    use serde_json::json;

    use super::*;
    use crate::resource_type::ResourceType;

    fn resource(kind: ResourceType, message: &impl prost::Message) -> Resource {
        Resource {
            name: "r".into(),
            version: "1".into(),
            type_url: kind.url().into(),
            value: message.encode_to_vec().into(),
        }
    }

    fn extension(url: &str, value: Vec<u8>) -> Resource {
        let any = Any {
            type_url: url.to_owned(),
            value,
        };
        let config = TypedExtensionConfig {
            name: "x".to_owned(),
            typed_config: Some(any),
        };
        resource(ResourceType::Extension, &config)
    }

    #[test]
    fn fields_are_written_as_in_files() {
        let cluster = Cluster {
            name: "c".to_owned(),
            connect_timeout: Some(Duration {
                seconds: 1,
                nanos: 500_000_000,
            }),
            per_connection_buffer_limit_bytes: Some(UInt32Value { value: 7 }),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            ..Default::default()
        };
        let json = resource(ResourceType::Cluster, &cluster).to_json().unwrap();
        let expected = json!({
            "name": "c",
            "type": "EDS",
            "connect_timeout": "1.500s",
            "per_connection_buffer_limit_bytes": 7,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_an_any_carries_is_written_if_it_is_known() {
        let url = "type.googleapis.com/google.protobuf.StringValue";
        let known = extension(url, "text".to_owned().encode_to_vec());
        let config = json!({ "@type": url, "value": "text" });
        let expected = json!({ "name": "x", "typed_config": config });
        assert_eq!(known.to_json().unwrap(), expected);
        let nothing = json!({ "name": "x", "typed_config": null });
        assert_eq!(extension("", vec![]).to_json().unwrap(), nothing);
        // A `TypedStruct` of a type without fields.
        let url = "type.googleapis.com/udpa.type.v1.TypedStruct";
        let old = extension(url, vec![0x0a, 1, b't', 0x12, 0]);
        let config = json!({ "@type": url, "type_url": "t", "value": {} });
        let expected = json!({ "name": "x", "typed_config": config });
        assert_eq!(old.to_json().unwrap(), expected);
        let url = "type.googleapis.com/istio.unknown.Config";
        let unknown = extension(url, vec![1, 2, 3]);
        let expected = json!({ "name": "x", "typed_config": { "@type": url } });
        assert_eq!(unknown.to_json().unwrap(), expected);
        // What Istio's own filters say: `drop` of a metric.
        let url = "type.googleapis.com/stats.PluginConfig";
        let istio = extension(url, vec![0x42, 2, 0x28, 1]);
        let config = json!({ "@type": url, "metrics": [{ "drop": true }] });
        let expected = json!({ "name": "x", "typed_config": config });
        assert_eq!(istio.to_json().unwrap(), expected);
        let url = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
        let broken = extension(url, vec![0xff])
            .to_json()
            .unwrap_err()
            .to_string();
        let expected = "a `envoy.extensions.filters.http.wasm.v3.Wasm` cannot be read: ";
        assert!(broken.starts_with(expected), "{broken}");
    }

    #[test]
    fn messages_that_stand_too_deep_are_refused() {
        let mut any = Any::default();
        for _ in 0..200 {
            any = Any {
                type_url: "type.googleapis.com/google.protobuf.Any".to_owned(),
                value: any.encode_to_vec(),
            };
        }
        let deep = extension(&any.type_url, any.value).to_json();
        assert!(matches!(deep, Err(JsonError::Deep)), "{deep:?}");
    }

    #[test]
    fn every_type_of_resources_is_known() {
        for kind in ResourceType::ALL {
            assert!(
                pool().get_message_by_name(type_name(kind.url())).is_some(),
                "{kind}"
            );
        }
    }
}
