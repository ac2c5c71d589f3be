//! The file as a whole.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::Admin;
use crate::callouts::Callouts;
use crate::check;
use crate::cluster::Cluster;
use crate::compile_cache::CompileCache;
use crate::defaults::DRAIN_TIMEOUT;
use crate::envoy::DynamicResources;
use crate::error::{ConfigError, ConfigErrors, Problem};
use crate::guest_limits::{SharedDataLimits, SharedQueueLimits};
use crate::http_filter::HttpFilter;
use crate::identity;
use crate::limits::{MAX_SOURCE_BYTES, MAX_WORKERS};
use crate::listener::Listener;
use crate::modules::Modules;
use crate::plugin::PluginConfig;
use crate::problems::Problems;
use crate::read::{Block, Fields};
use crate::source::{Source, Span};
use crate::tracing::Tracing;
use crate::yaml::{self, Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "the configuration",
    keys: &[
        ("workers", "2"),
        ("node", "{ id: edge-1, cluster: edge }"),
        ("admin", "{ address: 127.0.0.1:9901 }"),
        ("drain_delay", "5s"),
        ("drain_timeout", "30s"),
        ("listeners", "[{ name: edge, address: 0.0.0.0:8080 }]"),
        ("callouts", "{ response_limit: 16MiB }"),
        ("compile_cache", "{ path: /var/cache/weir }"),
        ("modules", "{ cache: /var/cache/weir }"),
        ("tracing", "{ otlp: { endpoint: http://127.0.0.1:4318 } }"),
        ("clusters", "[{ name: web, endpoints: [127.0.0.1:9000] }]"),
    ],
    not_yet: &[],
    hints: &[(
        "static_resources",
        "listeners",
        "this is Envoy's bootstrap: run it with `--envoy`, or turn it into this form with `weir import`",
    )],
};

/// A configuration that holds together: names are unique and references point
/// at something.
#[derive(Debug, Clone)]
pub struct Config {
    /// `workers`: threads that serve traffic, at most 1024. Default: one for
    /// every core.
    pub workers: Option<NonZeroUsize>,
    /// `node`: who this proxy is, for filters to read.
    pub node: identity::Node,
    /// `admin`: where metrics and administration are served. Default: nowhere.
    pub admin: Option<Admin>,
    /// `listeners`: what is served; at least one.
    pub listeners: Vec<Listener>,
    /// `clusters`: where requests go. Default: none.
    pub clusters: Vec<Cluster>,
    /// `callouts`: requests that filters make themselves.
    pub callouts: Callouts,
    /// `compile_cache`: where compiled modules are kept. Default: nowhere.
    pub compile_cache: Option<CompileCache>,
    /// `modules`: filter code that is fetched.
    pub modules: Modules,
    /// `tracing`: spans about requests. Default: none.
    pub tracing: Option<Tracing>,
    /// What comes from a management server besides. Default: nothing; only a bootstrap of
    /// Envoy's names one.
    pub dynamic_resources: Option<DynamicResources>,
    /// `drain_delay`: how long Weir says that it is not ready, and still accepts
    /// connections, before it drains: a load balancer needs a moment to notice.
    /// Default: 0s.
    pub drain_delay: Duration,
    /// `drain_timeout`: how long connections get to finish after a stop or a
    /// reload before they are closed. Default: 30s.
    pub drain_timeout: Duration,
    /// The text that all of this was read from.
    pub source: Arc<Source>,
}

impl Config {
    /// The cluster of that name.
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters
            .iter()
            .find(|cluster| cluster.name.value == name)
    }

    /// Every filter and access logger, with its listener.
    pub fn filters(&self) -> impl Iterator<Item = (&Listener, &HttpFilter)> {
        self.listeners.iter().flat_map(|listener| {
            let all = listener.chains().flat_map(|chain| {
                let filters = chain.http_filters.iter();
                filters.chain(&chain.access_loggers)
            });
            all.map(move |filter| (listener, filter))
        })
    }

    /// What filters of `vm_id` may share, as far as one of them says.
    pub fn shared_limits(&self, vm_id: &str) -> (SharedDataLimits, SharedQueueLimits) {
        let same = |wasm: &&PluginConfig| wasm.vm_config.vm_id == vm_id;
        let all = || {
            let versions = self.filters().flat_map(|(_, filter)| filter.versions());
            versions.filter(same)
        };
        let data = all().find_map(|wasm| wasm.limits.shared_data);
        let queues = all().find_map(|wasm| wasm.limits.shared_queues);
        let data = data.map_or_else(Default::default, |limits| limits.value);
        (
            data,
            queues.map_or_else(Default::default, |limits| limits.value),
        )
    }

    /// An error that was found later than in [`parse`], at the place in the
    /// file that is to blame: a module that is missing, a port in use.
    pub fn error(&self, at: Span, message: impl Into<String>) -> ConfigError {
        ConfigError::new(Arc::clone(&self.source), Problem::new(at, message))
    }
}

/// Help for those who have nothing yet.
const LEAST: &str = "one is the least: `listeners: [{ name: edge, address: 0.0.0.0:8080 }]`";

/// Reads and checks a configuration; `name` is what messages call it, usually
/// the path of the file.
///
/// # Errors
///
/// Everything that is wrong with it, in source order. After an error in the
/// YAML itself nothing behind it is known.
pub fn parse(name: &str, text: &str) -> Result<Config, ConfigErrors> {
    let source = source(name, text)?;
    let mut problems = Problems::default();
    let config = read(&source, &mut problems);
    problems.into_result(&source)?;
    config.ok_or_else(|| {
        let problem = Problem::new(Span::default(), "the configuration is empty");
        ConfigError::new(source, problem.help(LEAST)).into()
    })
}

/// The text as what errors point into.
pub(crate) fn source(name: &str, text: &str) -> Result<Arc<Source>, ConfigErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_SOURCE_BYTES {
        let source = Arc::new(Source::new(name, ""));
        let message = format!("the file is larger than {MAX_SOURCE_BYTES} bytes");
        return Err(ConfigError::new(source, Problem::new(Span::default(), message)).into());
    }
    Ok(Arc::new(Source::new(name, text)))
}

/// `None` if there is nothing to read, be it for an error or an empty file.
fn read(source: &Arc<Source>, problems: &mut Problems) -> Option<Config> {
    let root = yaml::compose(source.text(), problems)?;
    if root.is_null() {
        return None;
    }
    Some(read_root(&root, source, problems))
}

/// Reads what may be a configuration, for the schema.
pub(crate) fn probe(root: &Node, problems: &mut Problems) {
    read_root(root, &Arc::new(Source::new("", "")), problems);
}

fn read_root(root: &Node, source: &Arc<Source>, problems: &mut Problems) -> Config {
    // Or else a cluster may be missing only because its key was there twice.
    let tree_is_whole = problems.total() == 0;
    let mut fields = BLOCK.open(root, problems);
    let listeners = fields.required("listeners");
    if fields.node("listeners").is_some_and(Node::is_empty_list) {
        let problem = Problem::new(listeners.span, "there are no listeners");
        fields.problems.push(problem.help(LEAST));
    }
    let config = Config {
        workers: workers(&mut fields),
        node: fields.optional("node").unwrap_or_default(),
        admin: fields.optional("admin"),
        listeners: listeners.value,
        clusters: fields.optional("clusters").unwrap_or_default(),
        callouts: fields.optional("callouts").unwrap_or_default(),
        compile_cache: fields.optional("compile_cache"),
        modules: fields.optional("modules").unwrap_or_default(),
        tracing: fields.optional("tracing"),
        dynamic_resources: None,
        drain_delay: fields.optional("drain_delay").unwrap_or_default(),
        drain_timeout: fields.optional("drain_timeout").unwrap_or(DRAIN_TIMEOUT),
        source: Arc::clone(source),
    };
    let clusters_known = match fields.node("clusters") {
        Some(clusters) => matches!(clusters.value, Value::Sequence(_)),
        None => !fields.misspelt("clusters"),
    };
    check::listeners(&config, problems);
    check::clusters(&config, problems);
    if tree_is_whole && clusters_known {
        check::references(&config, problems);
        check::origins(&config, problems);
    }
    config
}

fn workers(fields: &mut Fields<'_, '_>) -> Option<NonZeroUsize> {
    let workers = fields.valid::<NonZeroUsize>("workers")?;
    if workers.get() > MAX_WORKERS {
        let message = format!("more than {MAX_WORKERS} workers");
        let problem = Problem::new(workers.span, message);
        let help = "one for every core is the default";
        fields.problems.push(problem.help(help));
    }
    Some(workers.value)
}
