//! Who this proxy is: Envoy's `core.v3.Node`.

use crate::metadata::{JsonObject, Struct};
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::yaml;

pub(crate) static BLOCK: Block = Block {
    name: "`node`",
    keys: &[
        ("id", "edge-1"),
        ("cluster", "edge"),
        ("metadata", "{ role: gateway }"),
        ("locality", "{ region: eu }"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static LOCALITY_BLOCK: Block = Block {
    name: "`locality`",
    keys: &[("region", "eu"), ("zone", "a"), ("sub_zone", "1")],
    not_yet: &[],
    hints: &[],
};

/// `node`: what filters read of the proxy as `xds.node`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// `id`: the name of this process. Default: empty.
    pub id: String,
    /// `cluster`: the name of the service it belongs to. Default: empty.
    pub cluster: String,
    /// `metadata`: anything else. Default: empty.
    pub metadata: Struct,
    /// `locality`: where it runs. Default: nowhere.
    pub locality: Locality,
}

/// `locality`: where something runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Locality {
    /// `region`. Default: empty.
    pub region: String,
    /// `zone`, a part of the region. Default: empty.
    pub zone: String,
    /// `sub_zone`, a part of the zone. Default: empty.
    pub sub_zone: String,
}

impl FromYaml for Node {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &yaml::Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let metadata = fields.optional::<JsonObject>("metadata");
        Self {
            id: fields.optional("id").unwrap_or_default(),
            cluster: fields.optional("cluster").unwrap_or_default(),
            metadata: metadata.unwrap_or_default().0,
            locality: fields.optional("locality").unwrap_or_default(),
        }
    }
}

impl FromYaml for Locality {
    const EXPECTED: &'static str = LOCALITY_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &yaml::Node, problems: &mut Problems) -> Self {
        let mut fields = LOCALITY_BLOCK.open(node, problems);
        Self {
            region: fields.optional("region").unwrap_or_default(),
            zone: fields.optional("zone").unwrap_or_default(),
            sub_zone: fields.optional("sub_zone").unwrap_or_default(),
        }
    }
}
