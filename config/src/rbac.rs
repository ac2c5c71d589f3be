//! Who may do what: Envoy's role-based access control.

mod condition;
mod metadata_match;

pub use condition::{FilterStateMatch, RbacCondition};
pub use metadata_match::{MetadataMatch, MetadataSource, ValueMatch};

pub(crate) use condition::{
    AUTHENTICATED_BLOCK, BLOCK as CONDITION_BLOCK, FILTER_STATE_BLOCK, check_ports,
};
pub(crate) use metadata_match::{BLOCK as METADATA_BLOCK, VALUE_BLOCK};

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, mismatch, words};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "`rbac`",
    keys: &[
        (
            "rules",
            "{ action: allow, policies: { all: { permissions: [{ any: true }], principals: [{ any: true }] } } }",
        ),
        (
            "shadow_rules",
            "{ action: deny, policies: { none: { permissions: [{ any: true }], principals: [{ any: true }] } } }",
        ),
        ("stat_prefix", "database"),
        ("rules_stat_prefix", "v1_"),
        ("shadow_rules_stat_prefix", "v2_"),
    ],
    not_yet: &[],
    hints: &[(
        "policies",
        "rules",
        "`action` and `policies` stand in `rules` or `shadow_rules`",
    )],
};

pub(crate) static RULES_BLOCK: Block = Block {
    name: "the rules of `rbac`",
    keys: &[
        ("action", "allow"),
        (
            "policies",
            "{ all: { permissions: [{ any: true }], principals: [{ any: true }] } }",
        ),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static POLICY_BLOCK: Block = Block {
    name: "a policy of `rbac`",
    keys: &[
        ("permissions", "[{ url_path: { prefix: /admin } }]"),
        (
            "principals",
            "[{ authenticated: { principal_name: { exact: spiffe://example.com/web } } }]",
        ),
    ],
    not_yet: &[],
    hints: &[(
        "condition",
        "",
        "CEL is not supported: say it in `permissions` and `principals`",
    )],
};

/// `rbac`: which requests, or connections, go on. Without `rules`, all do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rbac {
    /// `rules`: what is enforced: a request is answered with 403, a connection closed.
    /// Default: nothing.
    pub rules: Option<RbacRules>,
    /// `shadow_rules`: what is only found out, for metrics and metadata. Default:
    /// nothing.
    pub shadow_rules: Option<RbacRules>,
    /// `stat_prefix`: how names of metrics begin; in `network_filters` only. Default:
    /// the name of the filter.
    pub stat_prefix: Option<Spanned<String>>,
    /// `rules_stat_prefix`: stands in front of the names of metrics and metadata about
    /// `rules`. Default: nothing.
    pub rules_stat_prefix: String,
    /// `shadow_rules_stat_prefix`: the same for `shadow_rules`. Default: nothing.
    pub shadow_rules_stat_prefix: String,
}

/// `rules`, `shadow_rules`: policies, and what they decide.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RbacRules {
    /// `action`: what becomes of what matches a policy. Default: `allow`.
    pub action: RbacAction,
    /// `policies`: by their names, in the order of which they are asked. Default: none.
    pub policies: Vec<RbacPolicy>,
}

/// `action`: what becomes of what matches a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RbacAction {
    /// `allow`: it goes on, and nothing else.
    #[default]
    Allow,
    /// `deny`: it does not, and all else goes on.
    Deny,
    /// `log`: all goes on; metadata says what has matched.
    Log,
}

words!(RbacAction, "an action of `rbac`",
    "allow" => Self::Allow,
    "deny" => Self::Deny,
    "log" => Self::Log);

/// `policies.NAME`: matches if one of its permissions and one of its principals do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbacPolicy {
    /// Its name.
    pub name: String,
    /// `permissions`: what is done. At least one. Required.
    pub permissions: Vec<RbacCondition>,
    /// `principals`: by whom. At least one. Required.
    pub principals: Vec<RbacCondition>,
}

impl RbacRules {
    /// Policies are asked in the order of their names.
    pub(crate) fn new(action: RbacAction, mut policies: Vec<RbacPolicy>) -> Self {
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        Self { action, policies }
    }
}

impl Rbac {
    /// Its rules and its shadow rules, as far as there are any.
    fn all_rules(&self) -> impl Iterator<Item = &RbacRules> {
        self.rules.iter().chain(&self.shadow_rules)
    }

    /// Notes what a route's cannot have.
    pub(crate) fn check_of_route(&self, problems: &mut Problems) {
        if let Some(prefix) = &self.stat_prefix {
            let message = "`stat_prefix` has no effect on requests";
            problems.push(Problem::new(prefix.span, message));
        }
    }

    /// Something that it asks of requests, if it does: connections have none.
    pub(crate) fn asks_for_request(&self) -> Option<&'static str> {
        let policies = self.all_rules().flat_map(|rules| &rules.policies);
        let conditions = policies.flat_map(|p| p.permissions.iter().chain(&p.principals));
        conditions
            .into_iter()
            .find_map(RbacCondition::asks_for_request)
    }
}

impl FromYaml for Rbac {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            rules: fields.optional("rules"),
            shadow_rules: fields.optional("shadow_rules"),
            stat_prefix: fields.optional("stat_prefix"),
            rules_stat_prefix: fields.optional("rules_stat_prefix").unwrap_or_default(),
            shadow_rules_stat_prefix: fields
                .optional("shadow_rules_stat_prefix")
                .unwrap_or_default(),
        }
    }
}

impl FromYaml for RbacRules {
    const EXPECTED: &'static str = RULES_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = RULES_BLOCK.open(node, problems);
        let policies: Option<Policies> = fields.optional("policies");
        Self::new(
            fields.optional("action").unwrap_or_default(),
            policies.unwrap_or_default().0,
        )
    }
}

/// `policies`: a mapping of names.
#[derive(Default)]
struct Policies(Vec<RbacPolicy>);

impl FromYaml for Policies {
    const EXPECTED: &'static str = "a mapping of names to policies";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Value::Mapping(entries) = &node.value else {
            return mismatch(node, problems);
        };
        let policy = entries.iter().map(|entry| RbacPolicy {
            name: entry.key.text.clone(),
            ..RbacPolicy::read(&entry.value, problems)
        });
        Self(policy.collect())
    }

    fn shape() -> Shape {
        Shape::Map(Box::new(RbacPolicy::shape()))
    }
}

impl FromYaml for RbacPolicy {
    const EXPECTED: &'static str = POLICY_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: String::new(),
            permissions: Vec::new(),
            principals: Vec::new(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = POLICY_BLOCK.open(node, problems);
        let mut conditions = |key| -> Vec<RbacCondition> {
            let conditions: Spanned<Vec<_>> = fields.required(key);
            if fields.node(key).is_some_and(Node::is_empty_list) {
                let message = format!("`{key}` is empty: the policy would match nothing");
                let problem = Problem::new(conditions.span, message);
                let help = "`[{ any: true }]` stands for everything";
                fields.problems.push(problem.help(help));
            }
            conditions.value
        };
        Self {
            name: String::new(),
            permissions: conditions("permissions"),
            principals: conditions("principals"),
        }
    }
}
