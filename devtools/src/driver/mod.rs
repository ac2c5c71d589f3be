//! A filter and all that surrounds it, without a network: its VM, its streams and
//! connections, a clock that a test moves, and callouts that a test answers.

mod callout;
mod connection;
mod exchange;
mod half;
mod host;
mod metric;
mod reply;
mod view;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{Capabilities, ContextId, LogLevel, Module, PluginConfig, PluginError, VmConfig};

pub(crate) use self::callout::{Callout, CalloutRequest};
pub(crate) use self::connection::Tcp;
pub(crate) use self::exchange::{Exchange, Outcome};
pub(crate) use self::half::Passed;
pub(crate) use self::host::{LogLine, Observer, TestHost};
pub(crate) use self::view::Properties;

/// What a filter is started with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) vm: VmConfig,
    pub(crate) plugin: PluginConfig,
    /// Lines below are not kept, and the filter is told so.
    pub(crate) log_level: LogLevel,
    /// Time of both clocks, since the Unix epoch.
    pub(crate) now: Duration,
    /// The clusters that there are; `None`: whatever is asked for.
    pub(crate) clusters: Option<Vec<String>>,
    /// Properties of the proxy, by their path with dots.
    pub(crate) properties: Properties,
    /// All that the filter can read as properties, if it is to be nothing else.
    pub(crate) only_properties: Option<BTreeMap<String, Bytes>>,
    /// Bytes of body that the filter may hold in one direction.
    pub(crate) buffer_limit: usize,
}

impl Setup {
    /// A filter called `name` with this configuration.
    pub(crate) fn new(name: &str, configuration: Vec<u8>) -> Self {
        Self {
            vm: VmConfig {
                capabilities: Capabilities::default(),
                ..VmConfig::default()
            },
            plugin: PluginConfig {
                name: name.to_owned(),
                configuration: configuration.into(),
                ..PluginConfig::default()
            },
            log_level: LogLevel::Trace,
            now: Duration::ZERO,
            clusters: None,
            properties: Properties::default(),
            only_properties: None,
            buffer_limit: BUFFER_LIMIT,
        }
    }
}

/// As much as a listener lets a filter hold unless it says otherwise.
const BUFFER_LIMIT: usize = weir_config::defaults::BUFFER_LIMIT;

/// Why a filter did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{0}")]
    Load(#[from] weir_abi::LoadError),
    #[error("{error}{}", .failure.as_ref().map(|f| format!(": {f}")).unwrap_or_default())]
    Plugin {
        error: PluginError,
        failure: Option<String>,
    },
}

/// A filter that runs.
pub(crate) struct Driver {
    pub(crate) vm: Rc<weir_abi::Vm>,
    pub(crate) host: Rc<TestHost>,
    pub(crate) root: ContextId,
    buffer_limit: usize,
    exchanges: RefCell<Vec<Rc<Exchange>>>,
    connections: RefCell<Vec<Rc<Tcp>>>,
}

impl Driver {
    /// Starts and configures a filter. What it has logged by then is in `host`.
    pub(crate) fn start(
        module: &Module,
        setup: &Setup,
        host: &Rc<TestHost>,
    ) -> Result<Self, StartError> {
        let vm = weir_abi::Vm::new(module, setup.vm.clone(), Rc::clone(host) as _)?;
        let root = vm.start_plugin(setup.plugin.clone());
        let root = root.map_err(|error| StartError::Plugin {
            error,
            failure: vm.failure().map(ToString::to_string),
        })?;
        Ok(Self {
            vm: Rc::new(vm),
            host: Rc::clone(host),
            root,
            buffer_limit: setup.buffer_limit,
            exchanges: RefCell::default(),
            connections: RefCell::default(),
        })
    }

    /// A stream that the filter is put on.
    pub(crate) fn open(&self, properties: Properties) -> Rc<Exchange> {
        let exchange = Exchange::open(&self.vm, self.root, properties, self.buffer_limit);
        self.exchanges.borrow_mut().push(Rc::clone(&exchange));
        exchange
    }

    /// Ends a stream, and forgets it.
    pub(crate) fn close(&self, exchange: &Rc<Exchange>) {
        exchange.end();
        self.exchanges
            .borrow_mut()
            .retain(|open| !Rc::ptr_eq(open, exchange));
    }

    /// A TCP connection that the filter is put on.
    pub(crate) fn connect(&self, properties: Properties) -> Rc<Tcp> {
        let connection = Tcp::open(&self.vm, self.root, properties);
        self.connections.borrow_mut().push(Rc::clone(&connection));
        connection
    }

    /// Ends a connection, and forgets it.
    pub(crate) fn disconnect(&self, connection: &Rc<Tcp>) {
        connection.end();
        self.connections
            .borrow_mut()
            .retain(|open| !Rc::ptr_eq(open, connection));
    }

    /// Carries out what the filter has asked for between callbacks.
    pub(crate) fn settle(&self) {
        loop {
            for (root, queue) in self.host.take_queue_items() {
                // A VM that has failed is told of nothing.
                let _ = self.vm.on_queue_ready(root, queue);
            }
            let exchanges = self.exchanges.borrow().clone();
            exchanges.iter().for_each(|exchange| exchange.settle());
            let connections = self.connections.borrow().clone();
            connections
                .iter()
                .for_each(|connection| connection.settle());
            if !self.host.has_queue_items() {
                return;
            }
        }
    }

    /// Moves the clock by `time`; timers tick, and callouts time out, when they
    /// are due.
    pub(crate) fn advance(&self, time: Duration) {
        let end = self.host.now() + time;
        while let Some(due) = self.host.next_due().filter(|due| *due <= end) {
            self.host.set_now(due.max(self.host.now()));
            if let Some(root) = self.host.take_due_tick() {
                // A VM that has failed has no timers.
                let _ = self.vm.on_tick(root);
            }
            for callout in self.host.take_due_callouts() {
                callout.time_out(&self.vm);
            }
            self.settle();
        }
        self.host.set_now(end);
    }

    /// Ends what is open and the filter itself, as a proxy does that ends.
    pub(crate) fn stop(&self) {
        self.exchanges
            .take()
            .iter()
            .for_each(|exchange| exchange.end());
        self.connections
            .take()
            .iter()
            .for_each(|connection| connection.end());
        // One that has failed has nothing to end.
        let _ = self.vm.stop_plugin(self.root);
        self.settle();
    }

    /// What ended the VM, if it has failed.
    pub(crate) fn failure(&self) -> Option<String> {
        self.vm.failure().map(ToString::to_string)
    }
}
