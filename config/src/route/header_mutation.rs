//! How headers change on their way.

use crate::access_log::Template;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml, words};
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a header to add",
    keys: &[
        ("key", "x-client"),
        ("value", "\"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\""),
        ("append_action", "overwrite_if_exists_or_add"),
        ("keep_empty_value", "true"),
    ],
    not_yet: &[],
    hints: &[
        (
            "header",
            "key",
            "`key` and `value` stand beside `append_action` here",
        ),
        ("name", "key", "it is called `key` here, as in Envoy"),
    ],
};

/// How the headers of requests and responses change. What is removed goes first; what
/// several places say is done from the weighted cluster over the route and the virtual
/// host to the listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderMutations {
    /// `request_headers_to_add`: of requests, behind the filters and before the route's
    /// rewrites. Default: none.
    pub request_add: Vec<HeaderToAdd>,
    /// `request_headers_to_remove`: names. Default: none.
    pub request_remove: Vec<Spanned<String>>,
    /// `response_headers_to_add`: of responses of endpoints, and of Weir's own that
    /// take their place, before the filters. Default: none.
    pub response_add: Vec<HeaderToAdd>,
    /// `response_headers_to_remove`: names. Default: none.
    pub response_remove: Vec<Spanned<String>>,
}

/// `request_headers_to_add[]`, `response_headers_to_add[]`: a header, and how it is
/// added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderToAdd {
    /// `key`: its name. Required.
    pub key: Spanned<String>,
    /// `value`: a text with the operators of an access log; what they do not know is
    /// empty. Required.
    pub value: Template,
    /// `append_action`: what becomes of one that is there. Default:
    /// `append_if_exists_or_add`.
    pub append_action: AppendAction,
    /// `keep_empty_value`: whether it is added without a value, too. Default: false.
    pub keep_empty_value: bool,
}

/// `append_action`: what becomes of a header that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppendAction {
    /// `append_if_exists_or_add`: it gets another value.
    #[default]
    AppendIfExistsOrAdd,
    /// `add_if_absent`: it stays.
    AddIfAbsent,
    /// `overwrite_if_exists_or_add`: it is replaced.
    OverwriteIfExistsOrAdd,
    /// `overwrite_if_exists`: it is replaced; where there is none, none is added.
    OverwriteIfExists,
}

words!(AppendAction, "a way to add a header",
    "append_if_exists_or_add" => Self::AppendIfExistsOrAdd,
    "add_if_absent" => Self::AddIfAbsent,
    "overwrite_if_exists_or_add" => Self::OverwriteIfExistsOrAdd,
    "overwrite_if_exists" => Self::OverwriteIfExists);

impl HeaderMutations {
    pub(crate) const KEYS: [&str; 4] = [
        "request_headers_to_add",
        "request_headers_to_remove",
        "response_headers_to_add",
        "response_headers_to_remove",
    ];

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let mutations = Self {
            request_add: fields.optional(Self::KEYS[0]).unwrap_or_default(),
            request_remove: fields.optional(Self::KEYS[1]).unwrap_or_default(),
            response_add: fields.optional(Self::KEYS[2]).unwrap_or_default(),
            response_remove: fields.optional(Self::KEYS[3]).unwrap_or_default(),
        };
        let removed = mutations.request_remove.iter();
        for name in removed.chain(&mutations.response_remove) {
            check_name(name, fields.problems);
        }
        mutations
    }
}

impl FromYaml for HeaderToAdd {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            key: Spanned::placeholder(),
            value: Template::empty(),
            append_action: AppendAction::default(),
            keep_empty_value: false,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let key = fields.required_text("key");
        if !key.is_empty() {
            check_name(&key, fields.problems);
        }
        let value: Spanned<String> = fields.required("value");
        Self {
            key,
            value: read_value(&value.value, value.span, fields.problems),
            append_action: fields.optional("append_action").unwrap_or_default(),
            keep_empty_value: fields.optional("keep_empty_value").unwrap_or(false),
        }
    }
}

/// Notes what would end the value of a header too early.
pub(crate) fn check_value(text: &str, span: Span, problems: &mut Problems) {
    if text.chars().any(|c| c.is_ascii_control() && c != '\t') {
        let message = "there is a control character in the value of a header";
        problems.push(Problem::new(span, message));
    }
}

/// Reads the value of a header, and notes what is wrong with it.
pub(crate) fn read_value(text: &str, span: Span, problems: &mut Problems) -> Template {
    check_value(text, span, problems);
    match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            let problem = Problem::new(span, error.message);
            problems.push(match error.help {
                Some(help) => problem.help(help),
                None => problem,
            });
            Template::empty()
        }
    }
}

/// Notes a name that no header has, or one that other keys are for.
pub(crate) fn check_name(name: &Spanned<String>, problems: &mut Problems) {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let problem = if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        let message = format!("`{}` cannot be changed so", name.value);
        Problem::new(name.span, message)
            .help("the keys for path and host are `prefix_rewrite`, `host_rewrite` and the like")
    } else if name.is_empty() || !name.bytes().all(is_token) {
        Problem::new(
            name.span,
            format!("`{}` is not the name of a header", name.value),
        )
    } else {
        return;
    };
    problems.push(problem);
}
