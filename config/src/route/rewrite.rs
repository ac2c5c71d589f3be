//! How a route changes path and authority.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml};
use crate::route::check_regex;
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static REGEX_REWRITE_BLOCK: Block = Block {
    name: "`regex_rewrite`",
    keys: &[("pattern", "'^/old/(.*)$'"), ("substitution", "'/new/\\1'")],
    not_yet: &[],
    hints: &[],
};

/// How the path of a request changes; its query stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// `prefix_rewrite`: replaces what `match` has matched.
    Prefix(String),
    /// `regex_rewrite`: replaces every part that matches.
    Regex(RegexRewrite),
    /// `path_template_rewrite`: another path, with the variables of the match's
    /// `path_template`.
    Template(Spanned<String>),
}

/// `regex_rewrite`: replaces every part of a text that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegexRewrite {
    /// `pattern`: a regular expression. Required.
    pub pattern: Spanned<String>,
    /// `substitution`: `\1` stands for what the first group has matched, `\0`
    /// for all of it, `\\` for a backslash. Required.
    pub substitution: String,
}

/// How the authority of a request changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// `host_rewrite`: to this.
    Literal(String),
    /// `host_rewrite_header`: to the value of this header, if there is one.
    Header(String),
    /// `auto_host_rewrite: true`: to the host name of the endpoint, where it
    /// has one.
    Auto,
}

impl PathRewrite {
    /// `keys`: those of these that there are in the block.
    pub(super) fn read(fields: &mut Fields<'_, '_>, keys: &[&'static str]) -> Option<Self> {
        match fields.one_of(keys)? {
            "prefix_rewrite" => host_or_path(fields, "prefix_rewrite").map(Self::Prefix),
            "path_template_rewrite" => {
                let text: Spanned<String> = fields.optional("path_template_rewrite")?;
                check_host_or_path(&text.value, text.span, fields.problems);
                Some(Self::Template(text))
            }
            _ => fields.optional("regex_rewrite").map(Self::Regex),
        }
    }
}

impl HostRewrite {
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let keys = ["host_rewrite", "host_rewrite_header", "auto_host_rewrite"];
        match fields.one_of(&keys)? {
            "host_rewrite" => host_or_path(fields, "host_rewrite").map(Self::Literal),
            "host_rewrite_header" => fields.optional("host_rewrite_header").map(Self::Header),
            _ => {
                let auto = fields.optional("auto_host_rewrite").unwrap_or(false);
                auto.then_some(Self::Auto)
            }
        }
    }
}

impl FromYaml for RegexRewrite {
    const EXPECTED: &'static str = REGEX_REWRITE_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            pattern: Spanned::placeholder(),
            substitution: String::new(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = REGEX_REWRITE_BLOCK.open(node, problems);
        let pattern: Spanned<String> = fields.required_text("pattern");
        check_regex(&pattern.value, pattern.span, fields.problems);
        fields.require("substitution");
        Self {
            pattern,
            substitution: host_or_path(&mut fields, "substitution").unwrap_or_default(),
        }
    }
}

/// A text that becomes part of a host or path.
pub(super) fn host_or_path(fields: &mut Fields<'_, '_>, key: &str) -> Option<String> {
    let text: Spanned<String> = fields.optional(key)?;
    check_host_or_path(&text.value, text.span, fields.problems);
    Some(text.value)
}

/// Notes what would end a line of a message, or the path in it, too early.
pub(crate) fn check_host_or_path(text: &str, span: Span, problems: &mut Problems) {
    let wrong = text.chars().find(|c| *c == ' ' || c.is_ascii_control());
    let what = match wrong {
        None => return,
        Some(' ') => "a space",
        Some('\r' | '\n') => "a line break",
        Some(_) => "a control character",
    };
    let message = format!("there is {what} in what becomes a host or path");
    problems.push(Problem::new(span, message));
}
