//! [`Root`]: the root context that all filters have in common.

use std::rc::Rc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::ContextType;
use serde::de::DeserializeOwned;

/// A filter: what its streams share, made from its configuration.
pub trait Filter: Sized + 'static {
    /// What it is called in its log.
    const NAME: &'static str;

    /// What is read from the plugin's configuration.
    type Config: DeserializeOwned;

    /// The filter, in `on_configure`: metrics and queues can be defined, and a tick
    /// asked for.
    fn new(config: Self::Config) -> Self;

    /// The context of an HTTP stream.
    fn stream(self: Rc<Self>, id: u32) -> Box<dyn HttpContext>;

    /// Whether it is put on HTTP streams, or on connections.
    fn kind(&self) -> ContextType {
        ContextType::HttpContext
    }

    /// The context of a connection, of a filter that is put on these.
    fn connection(self: Rc<Self>) -> Option<Box<dyn StreamContext>> {
        None
    }

    /// The timer of the root context ticks.
    fn on_tick(&self, _root: &dyn RootContext) {}

    /// An item is in a queue that the root context has registered.
    fn on_queue_ready(&self) {}

    /// A call that the root context has made is answered; without headers, it failed.
    fn on_http_call_response(
        &self,
        _root: &dyn RootContext,
        _call: u32,
        _headers: usize,
        _body: usize,
    ) {
    }

    /// A gRPC stream that the root context has opened is over.
    fn on_grpc_stream_close(&self, _stream: u32, _status: u32) {}
}

/// The root context of a filter. It refuses a configuration that cannot be read, and
/// says why.
struct Root<F>(Option<Rc<F>>);

/// A root context, for `proxy_wasm::set_root_context`.
#[must_use]
pub fn root<F: Filter>() -> Box<dyn RootContext> {
    Box::new(Root::<F>(None))
}

impl<F: Filter> Context for Root<F> {
    fn on_http_call_response(&mut self, call: u32, headers: usize, body: usize, _trailers: usize) {
        if let Some(filter) = &self.0 {
            filter.on_http_call_response(self, call, headers, body);
        }
    }

    fn on_grpc_stream_close(&mut self, stream: u32, status: u32) {
        if let Some(filter) = &self.0 {
            filter.on_grpc_stream_close(stream, status);
        }
    }
}

impl<F: Filter> RootContext for Root<F> {
    fn on_configure(&mut self, _size: usize) -> bool {
        match filter_config::parse(self.get_plugin_configuration().as_deref()) {
            Ok(config) => {
                self.0 = Some(Rc::new(F::new(config)));
                true
            }
            Err(reason) => {
                error!("{}: configuration refused: {reason}", F::NAME);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(filter) = &self.0 {
            filter.on_tick(self);
        }
    }

    fn on_queue_ready(&mut self, _queue: u32) {
        if let Some(filter) = &self.0 {
            filter.on_queue_ready();
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        self.0.as_ref().map(|filter| filter.kind())
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Rc::clone(self.0.as_ref()?).stream(id))
    }

    fn create_stream_context(&self, _id: u32) -> Option<Box<dyn StreamContext>> {
        Rc::clone(self.0.as_ref()?).connection()
    }
}
