//! The administration endpoint.

use std::net::SocketAddr;

use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`admin`",
    keys: &[("address", "127.0.0.1:9901")],
    not_yet: &[],
    hints: &[],
};

/// `admin`: the endpoint for metrics and administration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `address`: IP address and port. It has no access control of its own, so
    /// keep it on a loopback address. Port 0 takes any free port. Required.
    pub address: Spanned<SocketAddr>,
}

impl FromYaml for Admin {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            address: FromYaml::placeholder(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            address: fields.required("address"),
        }
    }
}
