//! A proxy of nothing but memory: [`TestHost`], [`TestStream`],
//! [`TestConnection`], and [`Rig`] that
//! puts a guest between them. All that happens is written into one [`Journal`].

mod connection;
mod host;
mod stream;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use weir_abi::{ContextId, Deadline, HeadersStatus, LoadError, Module, PluginConfig, Vm, VmConfig};

pub use self::connection::TestConnection;
pub use self::host::{NOW, TestHost, UPTIME};
pub use self::stream::TestStream;
use crate::guest::Guest;

/// What happened, in order.
#[derive(Default, Clone)]
pub struct Journal(Rc<RefCell<Vec<String>>>);

impl Journal {
    pub fn push(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }

    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// A guest in its world, with one root context and one stream.
pub struct Rig {
    pub journal: Journal,
    pub host: Rc<TestHost>,
    pub vm: Vm,
    pub root: ContextId,
    pub stream: Rc<TestStream>,
    pub context: ContextId,
}

impl Rig {
    /// Starts `guest`, with what its start told thrown away.
    pub fn new(guest: &Guest) -> Self {
        let (host, vm) = start(guest, VmConfig::default());
        Self::of(host, vm.unwrap(), plugin("test"))
    }

    /// The same with callbacks that take so long at most.
    pub fn limited(guest: &Guest, deadline: Deadline, limit: Duration) -> Self {
        let host = Rc::new(TestHost::default());
        let module = Module::compile_for(&guest.build(), deadline).unwrap();
        let vm = Vm::new(&module, VmConfig::default(), host.clone()).unwrap();
        let mut plugin = plugin("test");
        plugin.time.callback = limit;
        Self::of(host, vm, plugin)
    }

    fn of(host: Rc<TestHost>, vm: Vm, plugin: PluginConfig) -> Self {
        let root = vm.start_plugin(plugin).unwrap();
        let journal = host.journal.clone();
        let stream = Rc::new(TestStream::new(journal.clone()));
        let context = vm.create_stream(root, stream.clone(), 0).unwrap();
        journal.take();
        Self {
            journal,
            host,
            vm,
            root,
            stream,
            context,
        }
    }

    /// Another stream, seen by filter 1.
    pub fn another_stream(&self) -> (Rc<TestStream>, ContextId) {
        let stream = Rc::new(TestStream::new(self.journal.clone()));
        let context = self.vm.create_stream(self.root, stream.clone(), 1);
        (stream, context.unwrap())
    }

    pub fn request_headers(&self) -> HeadersStatus {
        self.vm.on_request_headers(self.context, false).unwrap()
    }

    pub fn response_headers(&self) -> HeadersStatus {
        self.vm.on_response_headers(self.context, false).unwrap()
    }

    /// What happened since this was last asked for.
    pub fn told(&self) -> Vec<String> {
        self.journal.take()
    }
}

pub fn plugin(name: &str) -> PluginConfig {
    PluginConfig {
        name: name.into(),
        root_id: format!("{name}-root"),
        configuration: "plugin configuration".into(),
        ..PluginConfig::default()
    }
}

/// Compiles and starts `guest`.
pub fn start(guest: &Guest, config: VmConfig) -> (Rc<TestHost>, Result<Vm, LoadError>) {
    let host = Rc::new(TestHost::default());
    let module = Module::compile(&guest.build()).unwrap_or_else(|e| panic!("{e}"));
    let vm = Vm::new(&module, config, host.clone());
    (host, vm)
}

/// What a guest reports that does this in `proxy_on_request_headers`.
pub fn in_request_headers(script: &str) -> Vec<String> {
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", script));
    rig.request_headers();
    rig.told()
}
