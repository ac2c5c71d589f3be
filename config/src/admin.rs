//! The administration endpoint.

use crate::address::Address;
use crate::error::Problem;
use crate::file_mode::FileMode;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`admin`",
    keys: &[
        ("address", "127.0.0.1:9901"),
        ("mode", "0600"),
        ("allowed_hosts", "[weir-admin.internal]"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `admin`: the endpoint for metrics and administration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `address`: IP address and port, or a Unix socket. It has no access control of
    /// its own, so keep it on a loopback address or a socket with a `mode`. Port 0
    /// takes any free port. Required.
    pub address: Spanned<Address>,
    /// `mode`: who may connect to a Unix socket, as the permissions of its file, in
    /// octal. Default: what the process's `umask` leaves of 0777.
    pub mode: Option<FileMode>,
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
            mode: None,
            allowed_hosts: Vec::new(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let address = fields.required("address");
        let admin = Self {
            mode: FileMode::beside(&address, &mut fields),
            address,
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
