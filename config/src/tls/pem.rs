//! [`Pem`]: certificates and keys.

use std::path::PathBuf;

use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::Node;

/// How PEM begins.
const PEM: &str = "-----BEGIN ";

/// Certificates or a private key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// In a file, relative to the folder of the configuration. Not opened here.
    File(PathBuf),
    /// The PEM itself. Not parsed here.
    Text(String),
}

impl std::fmt::Debug for Pem {
    /// A private key is for nobody's log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.debug_tuple("Text").finish_non_exhaustive(),
        }
    }
}

impl FromYaml for Pem {
    const EXPECTED: &'static str = "a file in PEM, or the PEM itself";

    fn placeholder() -> Self {
        Self::Text(String::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.text() {
            Some(text) if text.trim_start().starts_with(PEM) => Self::Text(text.to_owned()),
            Some(_) => Self::File(PathBuf::read(node, problems)),
            None => mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::text()
    }
}
