//! Whose code is run.

use std::path::PathBuf;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, mismatch};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`verify`",
    keys: &[("key", "cosign.pub"), ("required", "true")],
    not_yet: &[],
    hints: &[],
};

/// How PEM begins.
const PEM: &str = "-----BEGIN ";

/// `verify`: a module must be signed by the owner of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// `key`: the public key, for ECDSA on P-256 or for Ed25519. Required.
    pub key: Spanned<VerifyKey>,
    /// `required`: whether a module without any signature is refused. One whose
    /// signature does not fit always is. Default: true.
    pub required: bool,
}

/// `key`: a public key in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyKey {
    /// In a file, relative to the folder of the configuration. Not opened here.
    File(PathBuf),
    /// The PEM itself. Not parsed here.
    Pem(String),
}

impl FromYaml for Verify {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            key: FromYaml::placeholder(),
            required: true,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            key: fields.required("key"),
            required: fields.optional("required").unwrap_or(true),
        }
    }
}

impl FromYaml for VerifyKey {
    const EXPECTED: &'static str = "a file with a public key in PEM, or the PEM itself";

    fn placeholder() -> Self {
        Self::Pem(String::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text() else {
            return mismatch(node, problems);
        };
        if !text.trim_start().starts_with(PEM) {
            return Self::File(PathBuf::read(node, problems));
        }
        if text.contains("PRIVATE KEY") {
            let problem = Problem::new(node.span, "this is a private key");
            let help = "write the public one here, and think of this one as known to others";
            problems.push(problem.help(help));
        }
        Self::Pem(text.to_owned())
    }

    fn shape() -> Shape {
        Shape::text()
    }
}
