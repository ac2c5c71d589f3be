//! What parameters in the query must be like.

use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::route::header_match::{StringMatch, text_match};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a query parameter match",
    keys: &[
        ("name", "debug"),
        ("present", "true"),
        ("exact", "yes"),
        ("prefix", "v"),
        ("suffix", ".example"),
        ("contains", "canary"),
        ("regex", "'v[0-9]+'"),
        ("ignore_case", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `query_parameters[]`: what the first value of a parameter must be like, as it stands
/// in the path; without any of `present`, `exact`, …, it must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// `name`: of the parameter. Required.
    pub name: Spanned<String>,
    /// `present`, `exact`, `prefix`, `suffix`, `contains` or `regex`.
    pub matcher: QueryMatcher,
}

/// What a parameter must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryMatcher {
    /// `present`: whether it must be there, or not.
    Present(bool),
    /// Its value.
    Text(StringMatch),
}

impl FromYaml for QueryMatch {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: Spanned::placeholder(),
            matcher: QueryMatcher::Present(true),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let matchers = ["present", "exact", "prefix", "suffix", "contains", "regex"];
        let matcher = match fields.one_of(&matchers).unwrap_or("present") {
            "present" => QueryMatcher::Present(fields.optional("present").unwrap_or(true)),
            key => QueryMatcher::Text(text_match(&mut fields, key)),
        };
        Self {
            name: fields.required_text("name"),
            matcher,
        }
    }
}
