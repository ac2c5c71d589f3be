//! [`Chain`]: filters made of scripts, and the streams that pass them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{Module, PluginConfig, VmConfig};
use weir_config::FailurePolicy;

use super::guest;
use super::journal::Journal;
use super::run::Run;
use crate::filter::{FilterVm, FilterVmSpec, Plugin, PluginSpec};
use crate::rollout::{Link, Version};
use crate::stream::{ConnectionInfo, FilteredStream, Protocol, StreamInfo};
use crate::telemetry::VmMetrics;

/// Bytes that one filter may hold of one direction in these tests.
pub(super) const BUFFER_LIMIT: usize = 10;

/// What filters of these names tell when their contexts end.
pub(super) fn ended(names: &[&str]) -> Vec<String> {
    let of = |name| [format!("{name} done"), format!("{name} delete")];
    names.iter().flat_map(of).collect()
}

/// A filter in the making.
pub(super) struct Filter {
    module: Module,
    configuration: Bytes,
    plugins: usize,
    holds_headers: bool,
    policy: Option<FailurePolicy>,
    reload_interval: Duration,
}

impl Filter {
    pub(super) fn new(script: &str) -> Self {
        Self::of(guest::compile(script))
    }

    pub(super) fn of(module: Module) -> Self {
        Self {
            module,
            configuration: Bytes::new(),
            plugins: 1,
            holds_headers: false,
            policy: None,
            reload_interval: Duration::ZERO,
        }
    }

    pub(super) fn configuration(mut self, configuration: impl Into<Bytes>) -> Self {
        self.configuration = configuration.into();
        self
    }

    /// As many filters of the chain as this share one VM.
    pub(super) fn shared_by(mut self, plugins: usize) -> Self {
        self.plugins = plugins;
        self
    }

    /// With `allow_on_headers_stop_iteration`.
    pub(super) fn holding_headers(mut self) -> Self {
        self.holds_headers = true;
        self
    }

    pub(super) fn policy(mut self, policy: FailurePolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    pub(super) fn reloading(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self.policy(FailurePolicy::Reload)
    }

    fn start(self, names: &mut impl Iterator<Item = char>) -> Vec<Rc<Plugin>> {
        let plugin = |name: char| PluginSpec {
            plugin: PluginConfig {
                name: name.into(),
                configuration: self.configuration.clone(),
                allow_on_headers_stop_iteration: self.holds_headers,
                ..PluginConfig::default()
            },
            policy: self.policy,
            policies: weir_config::FailurePolicies::default(),
            reload_interval: self.reload_interval,
            reload_interval_max: self.reload_interval,
            isolated: false,
            spare: false,
            recycle_above: None,
            recycle_after: None,
        };
        let spec = FilterVmSpec {
            node: Arc::default(),
            shared_limits: weir_abi::SharedLimits::default(),
            plugins: names.take(self.plugins).map(plugin).collect(),
            module: self.module,
            config: VmConfig::default(),
            log_lines: u32::MAX,
            clusters: Arc::default(),
            version: Version::Stable,
            owner: String::new(),
            failures: Arc::default(),
        };
        let metrics = Rc::new(VmMetrics::detached());
        let vm = Rc::new(FilterVm::start(Arc::new(spec), metrics, None).unwrap());
        vm.promote();
        (0..self.plugins)
            .map(|index| Rc::new(Plugin::new(Rc::clone(&vm), index)))
            .collect()
    }
}

/// Filters `a`, `b`, … in this order.
pub(super) struct Chain {
    plugins: Vec<Rc<Plugin>>,
    journal: Rc<Journal>,
}

impl Chain {
    /// A chain of filters with a VM each.
    pub(super) fn of<const N: usize>(scripts: [&str; N]) -> Self {
        Self::new(scripts.map(Filter::new))
    }

    pub(super) fn new(filters: impl IntoIterator<Item = Filter>) -> Self {
        let journal = Rc::new(Journal::new());
        let mut names = 'a'..='z';
        let filters = filters.into_iter();
        Self {
            plugins: filters.flat_map(|f| f.start(&mut names)).collect(),
            journal,
        }
    }

    /// A stream that has not begun.
    pub(super) fn stream(&self, headers: &[(&'static str, &'static str)]) -> Run {
        self.limited_stream(headers, BUFFER_LIMIT)
    }

    pub(super) fn limited_stream(
        &self,
        headers: &[(&'static str, &'static str)],
        limit: usize,
    ) -> Run {
        let local = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        let connection = ConnectionInfo {
            id: 1,
            peer: local.into(),
            direct: local.into(),
            local: local.into(),
            is_restored: false,
            original_src: None,
            filter_state: Rc::default(),
            tls: None,
            inspected: None,
        };
        let info = StreamInfo::new(connection, Protocol::Http11, Arc::default());
        let headers = headers.iter().copied().collect();
        let link = |plugin: &Rc<Plugin>| Link {
            plugin: Rc::clone(plugin),
            versions: None,
        };
        let chain: Vec<_> = self.plugins.iter().map(link).collect();
        let stream = FilteredStream::new(info, headers, &chain, limit);
        Run::new(stream, self.plugins.clone(), Rc::clone(&self.journal))
    }

    /// A request without a body that has passed the filters as far as they let it.
    pub(super) fn get(&self) -> Run {
        let run = self.stream(&[(":method", "GET"), (":path", "/")]);
        run.request(true);
        run
    }

    /// The headers of a request with a body.
    pub(super) fn post(&self) -> Run {
        let run = self.stream(&[(":method", "POST"), (":path", "/")]);
        run.request(false);
        run
    }

    /// A gRPC request.
    pub(super) fn grpc(&self) -> Run {
        let run = self.stream(&[(":method", "POST"), ("content-type", "application/grpc")]);
        run.request(false);
        run
    }

    /// Has the filter at `index` tick, if it runs; its VM may fail over it.
    pub(super) fn tick(&self, index: usize) {
        if let Some((vm, root)) = self.plugins[index].running() {
            let _ = vm.on_tick(root);
        }
    }
}
