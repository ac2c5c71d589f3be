//! What the names in a certificate must be like.

use crate::problems::Problems;
use crate::read::{Block, FromYaml, words};
use crate::route::{StringMatch, TEXT_MATCHERS, TextMatcher, text_match};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a match of subject alternative names",
    keys: &[
        ("san_type", "uri"),
        ("exact", "spiffe://example.com/web"),
        ("prefix", "'spiffe://example.com/'"),
        ("suffix", ".example.com"),
        ("contains", "example"),
        ("regex", "'.*[.]example[.]com'"),
        ("ignore_case", "true"),
    ],
    not_yet: &[],
    hints: &[(
        "matcher",
        "",
        "this is Envoy's form: what stands in `matcher` there stands beside `san_type` here",
    )],
};

/// `match_subject_alt_names[]`: what one of a certificate's names must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SanMatch {
    /// `san_type`: which of the names are looked at. Default: all.
    pub san_type: Option<SanType>,
    /// `exact`, `prefix`, `suffix`, `contains` or `regex`; `exact` takes a DNS name
    /// with a wildcard for the name it stands for.
    pub text: StringMatch,
}

/// `san_type`: a kind of name in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanType {
    /// `dns`
    Dns,
    /// `uri`
    Uri,
    /// `email`
    Email,
    /// `ip_address`: in its usual form as text.
    IpAddress,
}

words!(SanType, "a type of names",
    "dns" => Self::Dns,
    "uri" => Self::Uri,
    "email" => Self::Email,
    "ip_address" => Self::IpAddress);

impl FromYaml for SanMatch {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            san_type: None,
            text: StringMatch {
                matcher: TextMatcher::Exact(String::new()),
                ignore_case: false,
            },
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let san_type = fields.optional("san_type");
        let key = fields.one_of(&TEXT_MATCHERS).unwrap_or("exact");
        Self {
            san_type,
            text: text_match(&mut fields, key),
        }
    }
}
