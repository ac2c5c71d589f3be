//! Versions of TLS.

use serde_json::json;

use super::cipher::{TlsCipher, TlsCiphers};
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Fields, FromYaml, mismatch_with_help};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::Node;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `1.2`
    V12,
    /// `1.3`
    V13,
}

/// The versions that may be spoken, from the least to the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersions {
    /// `min_version`
    pub min: TlsVersion,
    /// `max_version`
    pub max: TlsVersion,
    /// `cipher_suites`: those of TLS 1.2 that may be used. Default: all.
    pub ciphers: TlsCiphers,
}

impl Default for TlsVersions {
    fn default() -> Self {
        Self {
            min: TlsVersion::V12,
            max: TlsVersion::V13,
            ciphers: TlsCiphers::ALL,
        }
    }
}

impl TlsVersion {
    /// How the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }
}

impl TlsVersions {
    /// Whether `version` may be spoken.
    pub fn contains(self, version: TlsVersion) -> bool {
        (self.min..=self.max).contains(&version)
    }

    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let other = Self::default();
        let min: Option<TlsVersion> = fields.optional("min_version");
        let max: Option<Spanned<TlsVersion>> = fields.optional("max_version");
        let ciphers: Option<Vec<TlsCipher>> = fields.optional("cipher_suites");
        let versions = Self {
            min: min.unwrap_or(other.min),
            max: max.map_or(other.max, |max| max.value),
            ciphers: ciphers.map_or(other.ciphers, TlsCiphers::from_iter),
        };
        if fields
            .node("cipher_suites")
            .is_some_and(Node::is_empty_list)
        {
            let message = "`cipher_suites` is empty: none is left";
            let problem = Problem::new(fields.key_span("cipher_suites"), message);
            fields.problems.push(problem);
        }
        if let Some(max) = max.filter(|_| versions.min > versions.max) {
            let message = "`max_version` is below `min_version`: no version is left";
            fields.problems.push(Problem::new(max.span, message));
        }
        versions
    }
}

impl FromYaml for TlsVersion {
    const EXPECTED: &'static str = "a version of TLS";

    fn placeholder() -> Self {
        Self::V13
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.text() {
            Some("1.2") => Self::V12,
            Some("1.3") => Self::V13,
            _ => mismatch_with_help(node, Some("it is one of `1.2` and `1.3`"), problems),
        }
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "enum": ["1.2", "1.3", 1.2, 1.3] }))
    }
}
