//! [`Workload`]: who is at the other end, as it tells itself, or its endpoint's metadata.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value as Json;
use weir_config::Node;

use crate::limits::PEER_METADATA_BYTES;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Keys of a node's metadata that are told, besides labels, and those of labels.
const TOLD: [&str; 5] = ["NAME", "NAMESPACE", "WORKLOAD_NAME", "CLUSTER_ID", "OWNER"];
const LABELS: &str = "LABELS";
const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
const APP: &str = "app";
const VERSION: &str = "version";

/// `google.protobuf.Struct`, as far as a workload has to say something.
#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(oneof = "Kind", tags = "3, 5")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(message, tag = "5")]
    Struct(Struct),
}

impl Struct {
    fn text(&self, key: &str) -> String {
        match self.fields.get(key).and_then(|value| value.kind.as_ref()) {
            Some(Kind::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    fn set(&mut self, key: &str, kind: Kind) {
        let value = Value { kind: Some(kind) };
        self.fields.insert(key.to_owned(), value);
    }
}

/// Why a peer's metadata is not looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("{0} bytes are more than are looked at")]
    TooLarge(usize),
    #[error("no base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("no Struct: {0}")]
    Struct(#[from] prost::DecodeError),
}

/// What is told of a workload; what is not is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) cluster: String,
    pub(super) canonical_name: String,
    pub(super) canonical_revision: String,
    pub(super) app: String,
    pub(super) version: String,
}

impl Workload {
    /// The one beside this proxy.
    pub(super) fn of_node(node: &Node) -> Self {
        let text = |key: &str| text(node.metadata.get(key));
        let labels = node.metadata.get(LABELS);
        let label = |key: &str| self::text(labels.and_then(|labels| labels.get(key)));
        Self {
            name: text("WORKLOAD_NAME"),
            namespace: text("NAMESPACE"),
            cluster: text("CLUSTER_ID"),
            canonical_name: label(CANONICAL_NAME),
            canonical_revision: label(CANONICAL_REVISION),
            app: label(APP),
            version: label(VERSION),
        }
    }

    /// The value of `x-envoy-peer-metadata`.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn decode(header: &[u8]) -> Result<Self, PeerError> {
        if header.len() > PEER_METADATA_BYTES {
            return Err(PeerError::TooLarge(header.len()));
        }
        let told = Struct::decode(&*BASE64.decode(header)?)?;
        let empty = Struct::default();
        let labels = match told.fields.get(LABELS).and_then(|v| v.kind.as_ref()) {
            Some(Kind::Struct(labels)) => labels,
            _ => &empty,
        };
        Ok(Self {
            name: told.text("WORKLOAD_NAME"),
            namespace: told.text("NAMESPACE"),
            cluster: told.text("CLUSTER_ID"),
            canonical_name: labels.text(CANONICAL_NAME),
            canonical_revision: labels.text(CANONICAL_REVISION),
            app: labels.text(APP),
            version: labels.text(VERSION),
        })
    }

    /// What an endpoint's metadata says: `workload;namespace;service;revision;cluster`.
    pub(super) fn of_endpoint(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::to_owned);
        Some(Self {
            name: parts.next()?,
            namespace: parts.next()?,
            canonical_name: parts.next()?,
            canonical_revision: parts.next()?,
            cluster: parts.next()?,
            ..Self::default()
        })
    }
}

fn text(value: Option<&Json>) -> String {
    value.and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// What `x-envoy-peer-metadata` tells of this proxy's workload, and of its labels those
/// that are named besides.
pub(super) fn header(node: &Node, additional_labels: &[String]) -> Bytes {
    let mut told = Struct::default();
    for key in TOLD {
        let text = text(node.metadata.get(key));
        if !text.is_empty() {
            told.set(key, Kind::Text(text));
        }
    }
    let given = node.metadata.get(LABELS);
    let wanted = [CANONICAL_NAME, CANONICAL_REVISION, APP, VERSION].into_iter();
    let mut labels = Struct::default();
    for key in wanted.chain(additional_labels.iter().map(String::as_str)) {
        let text = text(given.and_then(|labels| labels.get(key)));
        if !text.is_empty() {
            labels.set(key, Kind::Text(text));
        }
    }
    told.set(LABELS, Kind::Struct(labels));
    base64::engine::general_purpose::STANDARD
        .encode(told.encode_to_vec())
        .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> Node {
        let metadata = json!({
            "NAME": "web-1-abc",
            "NAMESPACE": "shop",
            "WORKLOAD_NAME": "web-1",
            "CLUSTER_ID": "Kubernetes",
            "OWNER": "kubernetes://apis/apps/v1/namespaces/shop/deployments/web-1",
            "INSTANCE_IPS": "10.0.0.1",
            "LABELS": {
                CANONICAL_NAME: "web", CANONICAL_REVISION: "v1", "app": "web",
                "version": "v1", "role": "front", "secret": "no",
            },
        });
        let Json::Object(metadata) = metadata else {
            unreachable!("it is an object")
        };
        Node {
            metadata,
            ..Node::default()
        }
    }

    fn encoded(message: &Struct) -> String {
        base64::engine::general_purpose::STANDARD.encode(message.encode_to_vec())
    }

    #[test]
    fn what_is_told_of_a_workload_is_what_its_peer_gets_to_know() {
        let node = node();
        let told = header(&node, &["role".to_owned(), "absent".to_owned()]);
        let workload = Workload::decode(&told).unwrap();
        assert_eq!(workload, Workload::of_node(&node));
        assert_eq!(workload.canonical_name, "web");
        let told = Struct::decode(&*BASE64.decode(&told).unwrap()).unwrap();
        assert_eq!(told.fields.len(), 6);
        assert_eq!(told.text("NAME"), "web-1-abc");
        let Some(Kind::Struct(labels)) = &told.fields[LABELS].kind else {
            panic!("{told:?}");
        };
        assert_eq!(labels.text("role"), "front");
        assert_eq!(labels.fields.len(), 5);
    }

    #[test]
    fn padding_may_be_there_or_not() {
        let mut message = Struct::default();
        message.set("WORKLOAD_NAME", Kind::Text("ab".to_owned()));
        let text = encoded(&message);
        assert!(text.ends_with('='), "{text}");
        for text in [&*text, text.trim_end_matches('=')] {
            assert_eq!(Workload::decode(text.as_bytes()).unwrap().name, "ab");
        }
    }

    #[test]
    fn bad_metadata_is_refused() {
        let mut deep = Struct::default();
        for _ in 0..200 {
            let inner = std::mem::take(&mut deep);
            deep.set(LABELS, Kind::Struct(inner));
        }
        let mut huge = Struct::default();
        huge.set("NAME", Kind::Text("x".repeat(PEER_METADATA_BYTES)));
        let no_utf8 = b"\x0a\x0b\x0a\x04NAME\x12\x03\x1a\x01\xff";
        let standard = base64::engine::general_purpose::STANDARD;
        for (what, header) in [
            ("no base64", "%%%%".to_owned()),
            ("base64 of the other alphabet", "-_-_".to_owned()),
            ("half a character", "A".to_owned()),
            ("a length without its bytes", standard.encode([0x0a, 0x7f])),
            ("a number without its end", standard.encode([0xff; 12])),
            ("text that is none", standard.encode(no_utf8)),
            ("a struct without end", encoded(&deep)),
            ("too much", encoded(&huge)),
        ] {
            assert!(Workload::decode(header.as_bytes()).is_err(), "{what}");
        }
    }

    #[test]
    fn what_is_of_another_kind_or_unknown_says_nothing() {
        // `WORKLOAD_NAME: 1`, and `LABELS: "text"`.
        let number = b"\x0a\x1a\x0a\x0dWORKLOAD_NAME\x12\x09\x11\0\0\0\0\0\0\xf0\x3f";
        let text = b"\x0a\x10\x0a\x06LABELS\x12\x06\x1a\x04text";
        for bytes in [&number[..], text, b""] {
            let header = base64::engine::general_purpose::STANDARD.encode(bytes);
            let workload = Workload::decode(header.as_bytes()).unwrap();
            assert_eq!(workload, Workload::default());
        }
    }

    #[test]
    fn an_endpoint_says_it_in_five_parts() {
        let workload = Workload::of_endpoint("web-1;shop;web;v1;Kubernetes").unwrap();
        assert_eq!(workload.name, "web-1");
        assert_eq!(workload.cluster, "Kubernetes");
        assert_eq!(workload.app, "");
        assert!(Workload::of_endpoint("web-1;shop;web;v1").is_none());
        assert!(Workload::of_endpoint("").is_none());
    }
}
