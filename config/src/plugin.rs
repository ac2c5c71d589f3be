//! Envoy's `PluginConfig` (`envoy/extensions/wasm/v3/wasm.proto`).

use crate::any;
use crate::capability::CapabilityRestriction;
use crate::error::Problem;
use crate::failure::{FailurePolicies, FailurePolicy, ReloadConfig, Unspecified};
use crate::guest_limits::Limits;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml, words};
use crate::source::Spanned;
use crate::vm::VmConfig;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`wasm`",
    keys: &[
        ("name", "auth"),
        ("root_id", "auth"),
        ("vm_config", "{ code: { local: { filename: auth.wasm } } }"),
        ("configuration", "{ header: x-user }"),
        ("failure_policy", "FAIL_RELOAD"),
        ("failure_policies", "{ on_deadline: FAIL_OPEN }"),
        ("fail_open", "false"),
        ("reload_config", "{ backoff: { base_interval: 1s } }"),
        (
            "capability_restriction_config",
            "{ allowed_capabilities: { proxy_log: {} } }",
        ),
        ("allow_on_headers_stop_iteration", "true"),
        ("header_values", "escape"),
        ("isolation", "stream"),
        ("spare", "false"),
        ("limits", "{ shared_data: { bytes: 64MiB } }"),
    ],
    not_yet: &[],
    hints: &[
        (
            "config",
            "vm_config",
            "what stands under `config` in Envoy stands directly under `wasm` here",
        ),
        ("@type", "", "remove it: `wasm` is always a `PluginConfig`"),
        ("code", "vm_config", "`code` belongs into `vm_config`"),
    ],
};

/// `wasm`: Envoy's `PluginConfig`, field for field, and Weir's `limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginConfig {
    /// `name`: the plugin's name as the filter sees it (`plugin_name`).
    /// Default: empty.
    pub name: String,
    /// `root_id`: which of the module's root contexts to use; also what tells
    /// filters that share a VM apart. Default: empty.
    pub root_id: String,
    /// `vm_config`: the VM and the code in it. Required.
    pub vm_config: Spanned<VmConfig>,
    /// `configuration`: what the filter reads in `on_configure`. A string is
    /// passed as it is; anything else becomes compact JSON with its keys in
    /// order; Envoy's form with `@type` may name a `StringValue`, `BytesValue`
    /// or `Struct`. Default: empty.
    pub configuration: Spanned<Vec<u8>>,
    /// `failure_policy`: what a request gets when the filter has failed.
    /// Default: `None`, which leaves it to the proxy. The deprecated
    /// `fail_open: true` means [`FailurePolicy::Open`].
    pub failure_policy: Option<FailurePolicy>,
    /// `failure_policies`: what counts in its place after certain causes.
    pub failure_policies: FailurePolicies,
    /// `reload_config`: how often a failed filter is started again.
    pub reload_config: ReloadConfig,
    /// `allow_on_headers_stop_iteration`: whether a filter that pauses in
    /// `on_request_headers` or `on_response_headers` gets to see the body while
    /// the headers are held. Default: false, which holds the body back too.
    pub allow_on_headers_stop_iteration: bool,
    /// `header_values`: what the filter sees of header values that are not UTF-8.
    pub header_values: HeaderValues,
    /// `isolation`: which streams share an instance of the code.
    pub isolation: Isolation,
    /// `spare`: whether each worker has another VM standing by, started and
    /// configured, to take the place of one that fails. Default: true; false in
    /// Envoy's own configuration.
    pub spare: bool,
    /// `capability_restriction_config`: the hostcalls and callbacks that the filter
    /// may have. Default: none, which allows all. What `vm_config` says counts
    /// instead, where it says something.
    pub allowed_capabilities: Vec<String>,
    /// `limits`: what the filter may use.
    pub limits: Limits,
}

/// `header_values`: what a filter sees of header values that are not UTF-8. Filters
/// of the Rust SDK fail on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HeaderValues {
    /// `pass`: the bytes as they are, as in Envoy.
    #[default]
    Pass,
    /// `escape`: each byte that does not belong to a character as `%` and two
    /// digits.
    Escape,
    /// `drop`: nothing of the header. The message keeps it.
    Drop,
}

words! {
    HeaderValues, "a way to show header values",
    "pass" => Self::Pass,
    "escape" => Self::Escape,
    "drop" => Self::Drop,
}

/// `isolation`: which streams share an instance of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// `worker`: all streams of a worker, as in Envoy.
    #[default]
    Worker,
    /// `stream`: none. Each has one to itself, as it was after
    /// `proxy_on_configure`.
    Stream,
}

words! {
    Isolation, "a kind of isolation",
    "worker" => Self::Worker,
    "stream" => Self::Stream,
}

impl FromYaml for PluginConfig {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: String::new(),
            root_id: String::new(),
            vm_config: FromYaml::placeholder(),
            configuration: Spanned::new(Vec::new(), crate::Span::default()),
            failure_policy: None,
            failure_policies: FailurePolicies::default(),
            reload_config: ReloadConfig::default(),
            allow_on_headers_stop_iteration: false,
            header_values: HeaderValues::default(),
            isolation: Isolation::default(),
            spare: true,
            allowed_capabilities: Vec::new(),
            limits: Limits::default(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let restriction: CapabilityRestriction = fields
            .optional("capability_restriction_config")
            .unwrap_or_default();
        Self {
            name: fields.optional("name").unwrap_or_default(),
            root_id: fields.optional("root_id").unwrap_or_default(),
            vm_config: fields.required("vm_config"),
            configuration: any::field(&mut fields, "configuration"),
            failure_policy: failure_policy(&mut fields),
            failure_policies: fields.optional("failure_policies").unwrap_or_default(),
            reload_config: fields.optional("reload_config").unwrap_or_default(),
            allow_on_headers_stop_iteration: fields
                .optional("allow_on_headers_stop_iteration")
                .unwrap_or_default(),
            header_values: fields.optional("header_values").unwrap_or_default(),
            isolation: fields.optional("isolation").unwrap_or_default(),
            spare: fields.optional("spare").unwrap_or(true),
            allowed_capabilities: restriction.allowed,
            limits: fields.optional("limits").unwrap_or_default(),
        }
    }
}

/// Folds the deprecated `fail_open` into the policy. As in Envoy, only `true`
/// clashes with a policy: a protobuf cannot tell `false` from absent.
fn failure_policy(fields: &mut Fields<'_, '_>) -> Option<FailurePolicy> {
    let policy: Unspecified<FailurePolicy> = fields.optional("failure_policy").unwrap_or_default();
    let fail_open = fields.optional("fail_open").unwrap_or(false);
    match policy.0 {
        Some(_) if fail_open => {
            let message = "`fail_open` and `failure_policy` cannot both be set";
            let problem = Problem::new(fields.key_span("fail_open"), message)
                .related(fields.key_span("failure_policy"), "the policy is set here")
                .help("`fail_open` is deprecated: remove it, and set the policy to `FAIL_OPEN` if that is meant");
            fields.problems.push(problem);
            None
        }
        None if fail_open => Some(FailurePolicy::Open),
        policy => policy,
    }
}
