//! Configured facts as filters read them: `core.v3.Metadata` and `core.v3.Node`,
//! whole or in part, in the encodings of properties.

use bytes::Bytes;
use serde_json::Value as Json;
use weir_abi::{Property, PropertyError, wire};
use weir_config::{Locality, Metadata, Node, Struct};

use super::protobuf::Message;

type Found = Result<Property, PropertyError>;

/// What stands at `path` in the message.
pub(super) fn of_metadata(metadata: &Metadata, path: &[&[u8]]) -> Found {
    let namespaces = || metadata.namespaces.iter();
    match path {
        [] => Ok(message(metadata).into_bytes().into()),
        [b"filter_metadata"] => {
            let entry = |(name, object): &(String, Struct)| {
                Ok((Bytes::from(name.clone()), encoded(of_struct(object, &[])?)))
            };
            let entries = namespaces().map(entry);
            Ok(Property::Map(entries.collect::<Result<_, _>>()?))
        }
        [b"filter_metadata", name, rest @ ..] => {
            let found = namespaces().find(|(n, _)| n.as_bytes() == *name);
            let (_, object) = found.ok_or(PropertyError::NotFound)?;
            of_struct(object, rest)
        }
        [b"typed_filter_metadata"] => Ok(Property::Map(Vec::new())),
        _ => Err(PropertyError::NotFound),
    }
}

/// What stands at `path` in the proxy's own description.
pub(crate) fn of_node(node: &Node, path: &[&[u8]]) -> Found {
    let Locality {
        region,
        zone,
        sub_zone,
    } = &node.locality;
    let text = |text: &String| Ok(text.clone().into());
    match path {
        [] => Ok(node_message(node).into_bytes().into()),
        [b"id"] => text(&node.id),
        [b"cluster"] => text(&node.cluster),
        [b"metadata", rest @ ..] => of_struct(&node.metadata, rest),
        [b"locality"] => Ok(locality(&node.locality).into_bytes().into()),
        [b"locality", b"region"] => text(region),
        [b"locality", b"zone"] => text(zone),
        [b"locality", b"sub_zone"] => text(sub_zone),
        _ => Err(PropertyError::NotFound),
    }
}

fn of_struct(object: &Struct, path: &[&[u8]]) -> Found {
    let Some((key, rest)) = path.split_first() else {
        let entry = |(name, value): (&String, &Json)| {
            Ok((Bytes::from(name.clone()), encoded(of_value(value, &[])?)))
        };
        let entries = object.iter().map(entry);
        return Ok(Property::Map(entries.collect::<Result<_, _>>()?));
    };
    let key = std::str::from_utf8(key).ok();
    let value = key.and_then(|key| object.get(key));
    of_value(value.ok_or(PropertyError::NotFound)?, rest)
}

fn of_value(value: &Json, path: &[&[u8]]) -> Found {
    match (value, path) {
        (Json::Object(object), path) => of_struct(object, path),
        (Json::Array(items), []) => {
            // A list is a map from its items to nothing.
            let item = |item| Ok((encoded(of_value(item, &[])?), Bytes::new()));
            let items = items.iter().map(item);
            Ok(Property::Map(items.collect::<Result<_, _>>()?))
        }
        (Json::Array(items), [index, rest @ ..]) => {
            let index = std::str::from_utf8(index).ok();
            let index = index.and_then(|index| index.parse::<usize>().ok());
            let item = index.and_then(|index| items.get(index));
            of_value(item.ok_or(PropertyError::NotFound)?, rest)
        }
        (Json::String(text), []) => Ok(text.clone().into()),
        (Json::Number(number), []) => {
            let number = number.as_f64().unwrap_or_default();
            Ok(Property::Double(number))
        }
        (Json::Bool(truth), []) => Ok(Property::Bool(*truth)),
        (Json::Null, []) => Err(PropertyError::NotSerializable),
        _ => Err(PropertyError::NotFound),
    }
}

/// A part of a larger value.
fn encoded(property: Property) -> Bytes {
    match property {
        Property::Bytes(bytes) => bytes,
        Property::Bool(truth) => Bytes::copy_from_slice(&[u8::from(truth)]),
        Property::Int(n) => Bytes::copy_from_slice(&n.to_le_bytes()),
        Property::Double(n) => Bytes::copy_from_slice(&n.to_le_bytes()),
        Property::Uint(n) => Bytes::copy_from_slice(&n.to_le_bytes()),
        Property::Timestamp(time) | Property::Duration(time) => {
            let nanoseconds = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
            Bytes::copy_from_slice(&nanoseconds.to_le_bytes())
        }
        Property::Map(pairs) => {
            let pairs = pairs.iter().map(|(k, v)| (&k[..], &v[..]));
            let mut block = vec![0; wire::pairs_size(pairs.clone())];
            let fits = wire::encode_pairs(pairs, &mut block);
            debug_assert!(fits, "the block is as large as the pairs");
            block.into()
        }
    }
}

/// `core.v3.Metadata`
fn message(metadata: &Metadata) -> Message {
    let mut message = Message::default();
    for (name, object) in &metadata.namespaces {
        let mut entry = Message::default();
        entry.text(1, name);
        entry.message(2, &struct_message(object));
        message.message(1, &entry);
    }
    message
}

/// `core.v3.Node`
fn node_message(node: &Node) -> Message {
    let mut message = Message::default();
    message.text(1, &node.id);
    message.text(2, &node.cluster);
    if !node.metadata.is_empty() {
        message.message(3, &struct_message(&node.metadata));
    }
    if node.locality != Locality::default() {
        message.message(4, &locality(&node.locality));
    }
    message
}

/// `core.v3.Locality`
fn locality(locality: &Locality) -> Message {
    let mut message = Message::default();
    message.text(1, &locality.region);
    message.text(2, &locality.zone);
    message.text(3, &locality.sub_zone);
    message
}

/// `google.protobuf.Struct`
fn struct_message(object: &Struct) -> Message {
    let mut message = Message::default();
    for (name, value) in object {
        let mut entry = Message::default();
        entry.text(1, name);
        entry.message(2, &value_message(value));
        message.message(1, &entry);
    }
    message
}

/// `google.protobuf.Value`, in which also an empty value is written: it tells
/// the kind.
fn value_message(value: &Json) -> Message {
    let mut message = Message::default();
    match value {
        Json::Null => message.varint(1, 0),
        Json::Number(number) => message.double(2, number.as_f64().unwrap_or_default()),
        Json::String(text) => message.bytes(3, text.as_bytes()),
        Json::Bool(truth) => message.varint(4, u64::from(*truth)),
        Json::Object(object) => message.message(5, &struct_message(object)),
        Json::Array(items) => {
            let mut list = Message::default();
            for item in items {
                list.message(1, &value_message(item));
            }
            message.message(6, &list);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(json: Json) -> Metadata {
        let Json::Object(namespaces) = json else {
            panic!("not an object");
        };
        let namespace = |(name, object)| match object {
            Json::Object(object) => (name, object),
            _ => panic!("{name} is not an object"),
        };
        Metadata {
            namespaces: namespaces.into_iter().map(namespace).collect(),
        }
    }

    #[test]
    fn a_path_leads_to_a_value() {
        let facts = metadata(serde_json::json!({
            "a": { "text": "x", "number": 1.5, "truth": true, "none": null,
                   "list": ["x", { "y": "z" }], "in": { "k": "v" } },
        }));
        let get = |path: &str| {
            let path = format!("filter_metadata.{path}");
            let path: Vec<_> = path.split('.').map(str::as_bytes).collect();
            of_metadata(&facts, &path)
        };
        let bytes = |bytes: &[u8]| Ok(Bytes::copy_from_slice(bytes).into());
        assert_eq!(get("a.text"), bytes(b"x"));
        assert_eq!(get("a.number"), Ok(Property::Double(1.5)));
        assert_eq!(get("a.truth"), Ok(Property::Bool(true)));
        assert_eq!(get("a.none"), Err(PropertyError::NotSerializable));
        assert_eq!(get("a.list.1.y"), bytes(b"z"));
        assert_eq!(get("a.in.k"), bytes(b"v"));
        assert_eq!(
            get("a.in"),
            Ok(Property::Map(vec![(Bytes::from("k"), Bytes::from("v"))]))
        );
        // One value has no encoding, so the whole has none.
        assert_eq!(get("a"), Err(PropertyError::NotSerializable));
        for missing in ["b", "a.other", "a.text.more", "a.list.2", "a.list.x"] {
            assert_eq!(get(missing), Err(PropertyError::NotFound), "{missing}");
        }
    }

    #[test]
    fn a_whole_message_is_protobuf() {
        let facts = metadata(serde_json::json!({ "a": { "k": "v" } }));
        let expected = b"\x0a\x0f\x0a\x01a\x12\x0a\x0a\x08\x0a\x01k\x12\x03\x1a\x01v";
        assert_eq!(
            of_metadata(&facts, &[]),
            Ok(Bytes::from_static(expected).into())
        );
        let empty = of_metadata(&Metadata::default(), &[]);
        assert_eq!(empty, Ok(Bytes::new().into()));
        let node = Node {
            id: "i".to_owned(),
            cluster: "c".to_owned(),
            locality: Locality {
                zone: "z".to_owned(),
                ..Locality::default()
            },
            ..Node::default()
        };
        let expected = b"\x0a\x01i\x12\x01c\x22\x03\x12\x01z";
        assert_eq!(of_node(&node, &[]), Ok(Bytes::from_static(expected).into()));
    }
}
