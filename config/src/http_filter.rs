//! A filter in a listener's chain.

use crate::error::Problem;
use crate::native_filter::{Native, NativeFilter};
use crate::plugin::PluginConfig;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml};
use crate::rollout::Rollout;
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "an HTTP filter",
    keys: &[
        ("name", "auth"),
        (
            "wasm",
            "{ vm_config: { code: { local: { filename: auth.wasm } } } }",
        ),
        (
            "rollout",
            "{ wasm: { vm_config: { code: { local: { filename: auth-2.wasm } } } }, shadow: true }",
        ),
        (
            "rbac",
            "{ rules: { policies: { all: { permissions: [{ any: true }], principals: [{ any: true }] } } } }",
        ),
        ("cors", "true"),
    ],
    not_yet: &[],
    hints: &[
        (
            "typed_config",
            "wasm",
            "what stands under `typed_config.config` in Envoy stands under `wasm` here",
        ),
        (
            "config",
            "wasm",
            "what stands under `config` in Envoy stands under `wasm` here",
        ),
    ],
};

/// `http_filters[]`, `network_filters[]`, `access_loggers[]`: a proxy-wasm filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFilter {
    /// `name`: unique in its listener; in logs and metrics. Required.
    pub name: Spanned<String>,
    /// `wasm`: Envoy's `PluginConfig`. Required.
    pub wasm: Spanned<PluginConfig>,
    /// `rollout`: another version of it beside this one; in `http_filters` only.
    /// Default: none.
    pub rollout: Option<Spanned<Rollout>>,
}

impl HttpFilter {
    /// A filter of one version.
    pub(crate) fn new(name: Spanned<String>, wasm: Spanned<PluginConfig>) -> Self {
        Self {
            name,
            wasm,
            rollout: None,
        }
    }

    /// Its `wasm`, and that of another version, if there is one.
    pub fn versions(&self) -> impl Iterator<Item = &PluginConfig> {
        let other = self.rollout.iter().map(|rollout| &rollout.wasm.value);
        std::iter::once(&self.wasm.value).chain(other)
    }
}

/// What a list of filters holds.
pub(crate) enum AnyFilter {
    Wasm(HttpFilter),
    /// One of Weir's own; its place is not known yet.
    Native(NativeFilter),
}

/// A list of filters, those of Weir's own with their places among the others.
pub(crate) fn filters(
    fields: &mut Fields<'_, '_>,
    key: &str,
) -> (Vec<HttpFilter>, Vec<NativeFilter>) {
    let all: Vec<AnyFilter> = fields.optional(key).unwrap_or_default();
    let (mut wasm, mut native) = (Vec::new(), Vec::new());
    for filter in all {
        match filter {
            AnyFilter::Wasm(filter) => wasm.push(filter),
            AnyFilter::Native(filter) => native.push(NativeFilter {
                place: wasm.len(),
                ..filter
            }),
        }
    }
    (wasm, native)
}

impl FromYaml for AnyFilter {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::Wasm(HttpFilter::new(
            FromYaml::placeholder(),
            FromYaml::placeholder(),
        ))
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let name = fields.required_text("name");
        let chosen = fields.one_of(&["wasm", "rbac", "cors"]);
        let rbac = fields.optional("rbac");
        let cors: Option<Spanned<bool>> = fields.optional("cors");
        if let Some(cors) = cors.filter(|cors| !cors.value) {
            let problem = Problem::new(cors.span, "`cors` can only be `true`");
            let help = "it says where the `cors` of routes has its place; leave the filter out";
            fields.problems.push(problem.help(help));
        }
        let kind = match chosen {
            Some("rbac") => Native::Rbac(Box::new(rbac.unwrap_or_default())),
            Some("cors") => Native::Cors,
            _ => {
                return Self::Wasm(HttpFilter {
                    name,
                    wasm: fields.required("wasm"),
                    rollout: fields.optional("rollout"),
                });
            }
        };
        if fields.node("rollout").is_some() {
            let span = fields.key_span("rollout");
            let problem = Problem::new(span, "`rollout` is for filters with `wasm`");
            fields.problems.push(problem);
        }
        Self::Native(NativeFilter {
            name,
            place: 0,
            kind,
        })
    }
}
