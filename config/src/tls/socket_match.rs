//! TLS that depends on the endpoint.

use super::UpstreamTls;
use crate::metadata::{JsonObject, Struct};
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a match for TLS",
    keys: &[
        ("name", "mesh"),
        ("match", "{ tlsMode: istio }"),
        ("tls", "{ ca: authorities.pem }"),
    ],
    not_yet: &[],
    hints: &[(
        "transport_socket",
        "tls",
        "this is Envoy's form: TLS stands in `tls`, and nothing where there is none",
    )],
};

/// `tls_matches[]`: endpoints that are spoken to in this way, whatever the `tls` of their
/// cluster. The first one that matches holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsMatch {
    /// `name`: for messages. Required.
    pub name: Spanned<String>,
    /// `match`: what an endpoint's `metadata` says under `envoy.transport_socket_match`:
    /// all of this. Default: anything.
    pub matches: Struct,
    /// `tls`: connections are encrypted. Default: they are not.
    pub tls: Option<UpstreamTls>,
}

impl TlsMatch {
    /// The namespace of metadata that decides.
    pub const NAMESPACE: &str = "envoy.transport_socket_match";
}

impl FromYaml for TlsMatch {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: Spanned::placeholder(),
            matches: Struct::new(),
            tls: None,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let matches: Option<JsonObject> = fields.optional("match");
        Self {
            name: fields.required_text("name"),
            matches: matches.unwrap_or_default().0,
            tls: fields.optional("tls"),
        }
    }
}
