//! [`Identity`]: who asks.

use envoy_types::pb::envoy::config::core::v3::{Locality, Node, node::UserAgentVersionType};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use serde_json::{Map, Value as Json};

/// What this proxy calls itself.
const USER_AGENT: &str = "weir";

/// What servers need to know of what this client understands: resources that are wrapped
/// with a name and a version also where there are no deltas.
const FEATURES: [&str; 1] = ["xds.config.resource-in-sotw"];

/// Who asks: what a server chooses configuration by (`core.v3.Node`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The name of this process.
    pub id: String,
    /// The name of the service that it belongs to.
    pub cluster: String,
    /// Where it runs, from the large to the small; empty for what is not known.
    pub region: String,
    /// See [`Self::region`].
    pub zone: String,
    /// See [`Self::region`].
    pub sub_zone: String,
    /// Anything else.
    pub metadata: Map<String, Json>,
}

impl Identity {
    pub(crate) fn node(&self) -> Node {
        let locality = Locality {
            region: self.region.clone(),
            zone: self.zone.clone(),
            sub_zone: self.sub_zone.clone(),
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Node {
            id: self.id.clone(),
            cluster: self.cluster.clone(),
            metadata: (!self.metadata.is_empty()).then(|| object(&self.metadata)),
            locality: (locality != Locality::default()).then_some(locality),
            user_agent_name: USER_AGENT.to_owned(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(version)),
            client_features: FEATURES.map(str::to_owned).to_vec(),
            ..Default::default()
        }
    }
}

fn object(map: &Map<String, Json>) -> Struct {
    let field = |(key, json): (&String, &Json)| (key.clone(), value(json));
    Struct {
        fields: map.iter().map(field).collect(),
    }
}

fn value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        // A number of a `Struct` is nothing else.
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(value).collect(),
        }),
        Json::Object(map) => Kind::StructValue(object(map)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_its_shape() {
        let json = serde_json::json!({ "a": [1, true, null], "b": { "c": "d" } });
        let Json::Object(metadata) = json else {
            panic!("not an object")
        };
        let identity = Identity {
            metadata,
            zone: "z".to_owned(),
            ..Default::default()
        };
        let node = identity.node();
        let fields = node.metadata.unwrap().fields;
        let Some(Kind::ListValue(list)) = &fields["a"].kind else {
            panic!("{fields:?}")
        };
        assert_eq!(list.values[0].kind, Some(Kind::NumberValue(1.0)));
        let Some(Kind::StructValue(inner)) = &fields["b"].kind else {
            panic!("{fields:?}")
        };
        assert_eq!(
            inner.fields["c"].kind,
            Some(Kind::StringValue("d".to_owned()))
        );
        assert_eq!(node.locality.unwrap().zone, "z");
    }
}
