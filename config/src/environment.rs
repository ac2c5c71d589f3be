//! The environment that a VM sees.

use std::collections::HashMap;

use serde_json::json;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, mismatch};
use crate::schema::Shape;
use crate::source::{Span, Spanned};
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "`environment_variables`",
    keys: &[
        ("host_env_keys", "[HOME]"),
        ("key_values", "{ REGION: eu }"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `environment_variables`: no name is in it twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvironmentVariables {
    /// `host_env_keys`: names of variables of Weir's own environment that are
    /// handed on; those that are not set there are left out. Default: none.
    pub host_env_keys: Vec<Spanned<String>>,
    /// `key_values`: names and values, in the order of the file. Default: none.
    pub key_values: Vec<(Spanned<String>, String)>,
}

/// `key_values` as read.
#[derive(Default)]
struct Pairs(Vec<(Spanned<String>, String)>);

impl FromYaml for EnvironmentVariables {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let pairs: Pairs = fields.optional("key_values").unwrap_or_default();
        let variables = Self {
            host_env_keys: fields.optional("host_env_keys").unwrap_or_default(),
            key_values: pairs.0,
        };
        variables.check_names(fields.problems);
        variables
    }
}

impl EnvironmentVariables {
    fn check_names(&self, problems: &mut Problems) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let own = self.key_values.iter().map(|(name, _)| name);
        for name in self.host_env_keys.iter().chain(own) {
            if name.is_empty() || name.contains(['=', '\0']) {
                let message = "not the name of an environment variable";
                let problem = Problem::new(name.span, message);
                problems.push(problem.help("a name is not empty and has no `=` in it"));
            } else if let Some(first) = seen.get(name.as_str()) {
                let message = format!("the variable `{name}` is set twice");
                let problem = Problem::new(name.span, message);
                problems.push(problem.related(*first, "it is set here already"));
            } else {
                seen.insert(name, name.span);
            }
        }
    }
}

impl FromYaml for Pairs {
    const EXPECTED: &'static str = "a mapping such as `{ REGION: eu }`";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Value::Mapping(entries) = &node.value else {
            return mismatch(node, problems);
        };
        let pairs = entries.iter().map(|entry| {
            let name = Spanned::new(entry.key.text.clone(), entry.key.span);
            (name, String::read(&entry.value, problems))
        });
        Self(pairs.collect())
    }

    fn shape() -> Shape {
        let value = json!({ "type": ["string", "number", "boolean"] });
        Shape::Is(json!({ "type": "object", "additionalProperties": value }))
    }
}
