//! Where traffic comes in.

use std::net::SocketAddr;

use crate::access_log::AccessLog;
use crate::http_filter::HttpFilter;
use crate::not_yet::NotYet;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::route::Route;
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a listener",
    keys: &[
        ("name", "edge"),
        ("address", "0.0.0.0:8080"),
        ("http_filters", "[]"),
        ("routes", "[]"),
        ("access_log", "{ path: stdout }"),
    ],
    not_yet: &[("tls", NotYet::ListenerTls)],
    hints: &[(
        "filter_chains",
        "http_filters",
        "this is Envoy's listener: filters stand in `http_filters` here",
    )],
};

/// `listeners[]`: an address that takes connections, the filters that requests
/// pass, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `name`: unique among listeners; in logs and metrics. Required.
    pub name: Spanned<String>,
    /// `address`: IP address and port; port 0 takes any free port. Required.
    pub address: Spanned<SocketAddr>,
    /// `http_filters`: requests pass them from the first to the last, responses
    /// from the last to the first. Default: none.
    pub http_filters: Vec<HttpFilter>,
    /// `routes`: the first that matches is taken; a request that none matches
    /// is answered with 404. Default: none.
    pub routes: Vec<Route>,
    /// `access_log`: one line a request. Default: off.
    pub access_log: Option<AccessLog>,
}

impl FromYaml for Listener {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: FromYaml::placeholder(),
            address: FromYaml::placeholder(),
            http_filters: Vec::new(),
            routes: Vec::new(),
            access_log: None,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            name: fields.required_text("name"),
            address: fields.required("address"),
            http_filters: fields.optional("http_filters").unwrap_or_default(),
            routes: fields.optional("routes").unwrap_or_default(),
            access_log: fields.optional("access_log"),
        }
    }
}
