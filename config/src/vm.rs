//! Envoy's `VmConfig`.

use crate::any;
use crate::capability::CapabilityRestriction;
use crate::code::Code;
use crate::environment::EnvironmentVariables;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, list, mismatch, nearest};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::verify::Verify;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`vm_config`",
    keys: &[
        ("vm_id", "auth"),
        ("runtime", "envoy.wasm.runtime.v8"),
        ("code", "{ local: { filename: auth.wasm } }"),
        ("verify", "{ key: cosign.pub }"),
        ("configuration", "{ region: eu }"),
        ("allow_precompiled", "false"),
        ("nack_on_code_cache_miss", "false"),
        ("environment_variables", "{ key_values: { REGION: eu } }"),
        (
            "capability_restriction_config",
            "{ allowed_capabilities: { proxy_log: {} } }",
        ),
    ],
    not_yet: &[],
    hints: &[("@type", "", "remove it: this is always a `VmConfig`")],
};

/// `vm_config`: a VM and the code in it. Filters whose `vm_id`, `configuration`
/// and code are the same share a VM.
///
/// Accepted for Envoy's sake and without effect: `runtime`, which there chooses
/// among engines; `allow_precompiled`, since precompiled sections are never
/// used; `nack_on_code_cache_miss`, since a configuration is taken only when all of its
/// code has been fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmConfig {
    /// `vm_id`: filters of one `vm_id` share data and queues. Default: empty.
    pub vm_id: String,
    /// `code`: the module. Required.
    pub code: Spanned<Code>,
    /// `verify`: who must have signed the code; Weir's own. Default: anybody or
    /// nobody.
    pub verify: Option<Spanned<Verify>>,
    /// `configuration`: what the code reads in `on_vm_start`; of the same form
    /// as the plugin's `configuration`. Default: empty.
    pub configuration: Spanned<Vec<u8>>,
    /// `environment_variables`: what the code finds in its environment.
    /// Default: none.
    pub environment_variables: EnvironmentVariables,
    /// `capability_restriction_config`: the hostcalls and callbacks that the code
    /// may have; an empty list allows all. Default: `None`, which leaves it to the
    /// plugin.
    pub allowed_capabilities: Option<Vec<String>>,
}

impl FromYaml for VmConfig {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            vm_id: String::new(),
            code: FromYaml::placeholder(),
            verify: None,
            configuration: Spanned::new(Vec::new(), crate::Span::default()),
            environment_variables: EnvironmentVariables::default(),
            allowed_capabilities: None,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        fields.optional::<Runtime>("runtime");
        fields.optional::<bool>("allow_precompiled");
        fields.optional::<bool>("nack_on_code_cache_miss");
        let restriction: Option<CapabilityRestriction> =
            fields.optional("capability_restriction_config");
        Self {
            vm_id: fields.optional("vm_id").unwrap_or_default(),
            code: fields.required("code"),
            verify: fields.optional("verify"),
            configuration: any::field(&mut fields, "configuration"),
            environment_variables: fields.optional("environment_variables").unwrap_or_default(),
            allowed_capabilities: restriction.map(|restriction| restriction.allowed),
        }
    }
}

/// `runtime`: the name of an engine that Envoy knows. Whichever it is, Weir
/// runs the code in its own.
struct Runtime;

/// Envoy's engines for WebAssembly; empty means the first that it was built with.
const RUNTIMES: [&str; 4] = [
    "envoy.wasm.runtime.v8",
    "envoy.wasm.runtime.wasmtime",
    "envoy.wasm.runtime.wamr",
    "envoy.wasm.runtime.wasmer",
];

/// Code that is linked into Envoy instead of WebAssembly.
const NATIVE_RUNTIME: &str = "envoy.wasm.runtime.null";

impl FromYaml for Runtime {
    const EXPECTED: &'static str = "the name of a runtime, such as `envoy.wasm.runtime.v8`";

    fn placeholder() -> Self {
        Self
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(name) = node.text() else {
            return mismatch(node, problems);
        };
        if name == NATIVE_RUNTIME {
            let message = format!("`{NATIVE_RUNTIME}` is for filters that are compiled into Envoy");
            let help = "use the WebAssembly module of this filter, and remove `runtime`";
            problems.push(Problem::new(node.span, message).help(help));
        } else if !name.is_empty() && !RUNTIMES.contains(&name) {
            let help = match nearest(name, RUNTIMES.into_iter()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("remove it, or write one of {}", list(RUNTIMES)),
            };
            let message = format!("there is no runtime `{name}`");
            problems.push(Problem::new(node.span, message).help(help));
        }
        Self
    }

    fn shape() -> Shape {
        Shape::words(RUNTIMES.into_iter().chain([""]))
    }
}
