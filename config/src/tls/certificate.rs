//! A certificate with its key.

use super::Pem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a certificate",
    keys: &[("cert", "edge.pem"), ("key", "edge.key")],
    not_yet: &[],
    hints: &[
        (
            "certificate_chain",
            "cert",
            "this is Envoy's name: write `cert`",
        ),
        ("private_key", "key", "this is Envoy's name: write `key`"),
    ],
};

/// `certificates[]`: who this side is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsCertificate {
    /// `cert`: the certificate, and behind it those that it was issued by, in PEM:
    /// a file, or the text. Required.
    pub cert: Spanned<Pem>,
    /// `key`: its private key (PKCS#8, PKCS#1 or SEC1) in PEM: a file, or the text.
    /// Required.
    pub key: Spanned<Pem>,
}

impl FromYaml for TlsCertificate {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            cert: Spanned::placeholder(),
            key: Spanned::placeholder(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            cert: fields.required("cert"),
            key: fields.required("key"),
        }
    }
}
