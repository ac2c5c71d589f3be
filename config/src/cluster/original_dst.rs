//! Endpoints that are where connections were going.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`original_dst` of a cluster",
    keys: &[
        ("use_http_header", "true"),
        ("http_header_name", "x-envoy-original-dst-host"),
        ("upstream_port_override", "8080"),
    ],
    not_yet: &[],
    hints: &[],
};

/// The header, unless it has another name (Envoy, `original_dst_cluster.cc`).
const HEADER: &str = "x-envoy-original-dst-host";

/// `original_dst`: in place of `endpoints`, requests and connections go to the address
/// that the client's connection was for, before it was redirected to its listener; those
/// of others go nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OriginalDst {
    /// `use_http_header`: whether requests can name another address and port in a
    /// header; what is no such thing there counts as none. Only for clients that may go
    /// anywhere. Default: false.
    pub use_http_header: bool,
    /// `http_header_name`: which header. Default: `x-envoy-original-dst-host`.
    pub http_header_name: Option<String>,
    /// `upstream_port_override`: the port, in place of the one that was meant.
    pub upstream_port_override: Option<u16>,
}

impl OriginalDst {
    /// The header in which requests name an address, if they may.
    pub fn header(&self) -> Option<&str> {
        let name = self.http_header_name.as_deref().unwrap_or(HEADER);
        self.use_http_header.then_some(name)
    }
}

impl FromYaml for OriginalDst {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let use_http_header = fields.optional("use_http_header").unwrap_or(false);
        let name: Option<Spanned<String>> = fields.optional("http_header_name");
        if let Some(name) = &name
            && !use_http_header
        {
            let message = "`http_header_name` has no effect without `use_http_header`";
            fields.problems.push(Problem::new(name.span, message));
        }
        Self {
            use_http_header,
            http_header_name: name
                .map(|name| name.to_ascii_lowercase())
                .filter(|name| !name.is_empty()),
            upstream_port_override: fields
                .optional("upstream_port_override")
                .filter(|port| *port > 0),
        }
    }
}
