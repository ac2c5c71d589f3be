//! The administration endpoint.

use std::net::SocketAddr;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`admin`",
    keys: &[
        ("address", "127.0.0.1:9901"),
        ("allowed_hosts", "[weir-admin.internal]"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `admin`: the endpoint for metrics and administration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `address`: IP address and port. It has no access control of its own, so
    /// keep it on a loopback address. Port 0 takes any free port. Required.
    pub address: Spanned<SocketAddr>,
    /// `allowed_hosts`: names, without a port, by which the admin may be asked for
    /// besides IP addresses and `localhost`. A page that a browser shows could give
    /// any other name the admin's address. Default: none.
    pub allowed_hosts: Vec<Spanned<String>>,
}

impl FromYaml for Admin {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            address: FromYaml::placeholder(),
            allowed_hosts: Vec::new(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let admin = Self {
            address: fields.required("address"),
            allowed_hosts: fields.optional("allowed_hosts").unwrap_or_default(),
        };
        for host in &admin.allowed_hosts {
            if host.is_empty() || host.contains(|c: char| c.is_whitespace() || ":/*".contains(c)) {
                let message = format!("`{}` is not the name of a host", host.value);
                let help = "write a name without a port, such as `weir-admin.internal`";
                let problem = Problem::new(host.span, message).help(help);
                fields.problems.push(problem);
            }
        }
        admin
    }
}
