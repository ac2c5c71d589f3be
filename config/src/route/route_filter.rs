//! What a route changes in the filters of its listener.

use crate::any;
use crate::error::Problem;
use crate::problems::Problems;
use crate::rbac::Rbac;
use crate::read::{Block, FromYaml, mismatch};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "what a route says of a filter",
    keys: &[
        ("disabled", "true"),
        ("configuration", "{ header: x-user }"),
        (
            "rbac",
            "{ rules: { action: deny, policies: { all: { permissions: [{ any: true }], principals: [{ any: true }] } } } }",
        ),
    ],
    not_yet: &[],
    hints: &[(
        "wasm",
        "configuration",
        "the code is the listener's; `configuration` stands here without `wasm`",
    )],
};

/// `filters`: what requests of a route, or of a virtual host's routes, meet of the
/// listener's filters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteFilters(pub Vec<RouteFilter>);

/// What a route says of a filter of its listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFilter {
    /// The name of the filter.
    pub name: Spanned<String>,
    /// `disabled`, `configuration` or `rbac`.
    pub setting: FilterSetting,
}

/// What a filter is for a route; what route and virtual host say, the route decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterSetting {
    /// `disabled: true`: it does not see the requests.
    Disabled,
    /// `disabled: false`: it is as in the listener.
    Enabled,
    /// `configuration`: it is configured with this, in the place of its own
    /// `configuration`, and has a root context of its own in the same VM.
    Configured(Spanned<Vec<u8>>),
    /// `rbac`: of a filter with `rbac`, what stands in the place of its own; an empty one
    /// lets everything through.
    Rbac(Box<Rbac>),
}

impl FromYaml for FilterSetting {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::Enabled
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let before = problems.total();
        let mut fields = BLOCK.open(node, problems);
        let chosen = fields.one_of(&["disabled", "configuration", "rbac"]);
        let disabled: Option<bool> = fields.optional("disabled");
        let configuration = any::field(&mut fields, "configuration");
        let rbac: Option<Spanned<Rbac>> = fields.optional("rbac");
        if chosen.is_none() && before == fields.problems.total() {
            let message = "nothing is said of the filter";
            let problem = Problem::new(fields.at(), message);
            let help = "write `disabled: true`, or a `configuration`";
            fields.problems.push(problem.help(help));
        }
        if let Some(rbac) = rbac {
            rbac.check_of_route(fields.problems);
            return Self::Rbac(Box::new(rbac.value));
        }
        match disabled {
            Some(true) => Self::Disabled,
            None if chosen.is_some() => Self::Configured(configuration),
            _ => Self::Enabled,
        }
    }
}

impl FromYaml for RouteFilters {
    const EXPECTED: &'static str = "a mapping such as `{ auth: { disabled: true } }`";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Value::Mapping(entries) = &node.value else {
            return mismatch(node, problems);
        };
        let filter = entries.iter().map(|entry| RouteFilter {
            name: Spanned::new(entry.key.text.clone(), entry.key.span),
            setting: FilterSetting::read(&entry.value, problems),
        });
        Self(filter.collect())
    }

    fn shape() -> Shape {
        Shape::Map(Box::new(FilterSetting::shape()))
    }
}
