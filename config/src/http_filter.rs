//! A filter in a listener's chain.

use crate::plugin::PluginConfig;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
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

impl FromYaml for HttpFilter {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::new(FromYaml::placeholder(), FromYaml::placeholder())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            name: fields.required_text("name"),
            wasm: fields.required("wasm"),
            rollout: fields.optional("rollout"),
        }
    }
}
