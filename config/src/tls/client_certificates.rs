//! What clients have to show.

use super::{Pem, SanMatch};
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`client_certificates`",
    keys: &[
        ("ca", "clients.pem"),
        ("required", "true"),
        (
            "match_subject_alt_names",
            "[{ suffix: .clients.example.com }]",
        ),
    ],
    not_yet: &[],
    hints: &[],
};

/// `client_certificates`: clients are asked for a certificate. One that is not
/// issued by the authorities, or has no name that matches, ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// `ca`: certificates of the authorities that are believed, in PEM: a file, or
    /// the text. Required.
    pub ca: Spanned<Pem>,
    /// `required`: whether a client without a certificate is turned away. Default:
    /// true.
    pub required: bool,
    /// `match_subject_alt_names`: what one of the names in a certificate must be
    /// like: one of these is enough. Default: any.
    pub match_subject_alt_names: Vec<SanMatch>,
}

impl FromYaml for ClientCertificates {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            ca: Spanned::placeholder(),
            required: true,
            match_subject_alt_names: Vec::new(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            ca: fields.required("ca"),
            required: fields.optional("required").unwrap_or(true),
            match_subject_alt_names: fields
                .optional("match_subject_alt_names")
                .unwrap_or_default(),
        }
    }
}
