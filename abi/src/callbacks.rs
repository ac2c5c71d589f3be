//! The guest's exports, typed, with the arity that its ABI version gives them.

use crate::capabilities::Capabilities;
use crate::engine::{
    ALLOCATORS, CompiledModule, ExternType, GuestArgs, GuestFn, Instance, Results, Signature, Turn,
    ValueType,
};
use crate::module::LoadError;
use crate::types::{AbiVersion, ContextId};

type F1 = GuestFn<(u32,), ()>;
type F1r = GuestFn<(u32,), u32>;
type F2 = GuestFn<(u32, u32), ()>;
type F2r = GuestFn<(u32, u32), u32>;
type F3 = GuestFn<(u32, u32, u32), ()>;
type F3r = GuestFn<(u32, u32, u32), u32>;
type F5 = GuestFn<(u32, u32, u32, u32, u32), ()>;

/// The exports that the host may call.
struct Exports<'a> {
    instance: &'a mut Instance,
    allowed: &'a Capabilities,
}

impl Exports<'_> {
    fn function<A: GuestArgs, R: Results>(&mut self, name: &str) -> Option<GuestFn<A, R>> {
        let allowed = self.allowed.allow(name);
        allowed.then(|| self.instance.function(name)).flatten()
    }
}

/// A headers callback: two parameters in ABI 0.1.0, three from 0.2.0 on.
pub(crate) enum HeadersFn {
    WithoutEndOfStream(F2r),
    WithEndOfStream(F3r),
}

impl HeadersFn {
    fn of(instance: &mut Exports<'_>, name: &str, abi: AbiVersion) -> Option<Self> {
        if abi == AbiVersion::V0_1_0 {
            instance.function(name).map(Self::WithoutEndOfStream)
        } else {
            instance.function(name).map(Self::WithEndOfStream)
        }
    }

    /// A call of it for a stream with so many headers.
    pub(crate) fn turn(
        &self,
        name: &'static str,
        stream: ContextId,
        count: u32,
        end_of_stream: bool,
    ) -> Turn {
        match self {
            Self::WithoutEndOfStream(function) => function.turn(name, (stream.0, count)),
            Self::WithEndOfStream(function) => {
                function.turn(name, (stream.0, count, u32::from(end_of_stream)))
            }
        }
    }
}

/// The exports of one instance; `None` where the module has none.
pub(crate) struct Callbacks {
    pub(crate) on_context_create: Option<F2>,
    pub(crate) on_vm_start: Option<F2r>,
    pub(crate) on_configure: Option<F2r>,
    pub(crate) on_tick: Option<F1>,
    pub(crate) on_new_connection: Option<F1r>,
    pub(crate) on_downstream_data: Option<F3r>,
    pub(crate) on_upstream_data: Option<F3r>,
    pub(crate) on_downstream_connection_close: Option<F2>,
    pub(crate) on_upstream_connection_close: Option<F2>,
    pub(crate) on_queue_ready: Option<F2>,
    pub(crate) on_request_headers: Option<HeadersFn>,
    pub(crate) on_request_body: Option<F3r>,
    pub(crate) on_request_trailers: Option<F2r>,
    pub(crate) on_response_headers: Option<HeadersFn>,
    pub(crate) on_response_body: Option<F3r>,
    pub(crate) on_response_trailers: Option<F2r>,
    pub(crate) on_http_call_response: Option<F5>,
    pub(crate) on_grpc_receive_initial_metadata: Option<F3>,
    pub(crate) on_grpc_receive: Option<F3>,
    pub(crate) on_grpc_receive_trailing_metadata: Option<F3>,
    pub(crate) on_grpc_close: Option<F3>,
    pub(crate) on_resolve_dns: Option<F3>,
    pub(crate) on_done: Option<F1r>,
    pub(crate) on_log: Option<F1>,
    pub(crate) on_delete: Option<F1>,
}

impl Callbacks {
    pub(crate) fn of(instance: &mut Instance, abi: AbiVersion, allowed: &Capabilities) -> Self {
        let instance = &mut Exports { instance, allowed };
        Self {
            on_context_create: instance.function("proxy_on_context_create"),
            on_vm_start: instance.function("proxy_on_vm_start"),
            on_configure: instance.function("proxy_on_configure"),
            on_tick: instance.function("proxy_on_tick"),
            on_new_connection: instance.function("proxy_on_new_connection"),
            on_downstream_data: instance.function("proxy_on_downstream_data"),
            on_upstream_data: instance.function("proxy_on_upstream_data"),
            on_downstream_connection_close: instance
                .function("proxy_on_downstream_connection_close"),
            on_upstream_connection_close: instance.function("proxy_on_upstream_connection_close"),
            on_queue_ready: instance.function("proxy_on_queue_ready"),
            on_request_headers: HeadersFn::of(instance, "proxy_on_request_headers", abi),
            on_request_body: instance.function("proxy_on_request_body"),
            on_request_trailers: instance.function("proxy_on_request_trailers"),
            on_response_headers: HeadersFn::of(instance, "proxy_on_response_headers", abi),
            on_response_body: instance.function("proxy_on_response_body"),
            on_response_trailers: instance.function("proxy_on_response_trailers"),
            on_http_call_response: instance.function("proxy_on_http_call_response"),
            on_grpc_receive_initial_metadata: instance
                .function("proxy_on_grpc_receive_initial_metadata"),
            on_grpc_receive: instance.function("proxy_on_grpc_receive"),
            on_grpc_receive_trailing_metadata: instance
                .function("proxy_on_grpc_receive_trailing_metadata"),
            on_grpc_close: instance.function("proxy_on_grpc_close"),
            on_resolve_dns: instance.function("envoy_on_resolve_dns"),
            on_done: instance.function("proxy_on_done"),
            on_log: instance.function("proxy_on_log"),
            on_delete: instance.function("proxy_on_delete"),
        }
    }
}

/// Every callback of the ABI, its number of `i32` parameters and results. The
/// headers callbacks stand with their arity from 0.2.0 on.
pub(crate) const CALLBACKS: &[(&str, usize, usize)] = &[
    ("proxy_on_context_create", 2, 0),
    ("proxy_on_vm_start", 2, 1),
    ("proxy_validate_configuration", 2, 1),
    ("proxy_on_configure", 2, 1),
    ("proxy_on_tick", 1, 0),
    ("proxy_on_queue_ready", 2, 0),
    ("proxy_on_new_connection", 1, 1),
    ("proxy_on_downstream_data", 3, 1),
    ("proxy_on_upstream_data", 3, 1),
    ("proxy_on_downstream_connection_close", 2, 0),
    ("proxy_on_upstream_connection_close", 2, 0),
    ("proxy_on_request_headers", 3, 1),
    ("proxy_on_request_body", 3, 1),
    ("proxy_on_request_trailers", 2, 1),
    ("proxy_on_request_metadata", 2, 1),
    ("proxy_on_response_headers", 3, 1),
    ("proxy_on_response_body", 3, 1),
    ("proxy_on_response_trailers", 2, 1),
    ("proxy_on_response_metadata", 2, 1),
    ("proxy_on_http_call_response", 5, 0),
    ("proxy_on_grpc_receive_initial_metadata", 3, 0),
    ("proxy_on_grpc_receive", 3, 0),
    ("proxy_on_grpc_receive_trailing_metadata", 3, 0),
    ("proxy_on_grpc_close", 3, 0),
    ("proxy_on_done", 1, 1),
    ("proxy_on_log", 1, 0),
    ("proxy_on_delete", 1, 0),
    ("proxy_on_foreign_function", 3, 0),
    ("envoy_on_resolve_dns", 3, 0),
];

/// The start functions that a module's exports make it use, with their number
/// of `i32` parameters and results. With `_initialize`, `main` or `__main_void`
/// follows it; without, `_start` stands alone and the others are not looked at.
fn start_functions(module: &CompiledModule) -> &'static [(&'static str, usize, usize)] {
    const REACTOR: &[(&str, usize, usize)] =
        &[("_initialize", 0, 0), ("main", 2, 1), ("__main_void", 0, 1)];
    const COMMAND: &[(&str, usize, usize)] = &[("_start", 0, 0)];
    if module.exports().any(|(name, _)| name == "_initialize") {
        REACTOR
    } else {
        COMMAND
    }
}

/// Checks the types of all callbacks and start functions, and that there is an
/// allocator.
pub(crate) fn check_exports(module: &CompiledModule, abi: AbiVersion) -> Result<(), LoadError> {
    let start_functions = start_functions(module);
    let mut allocator = false;
    for (name, ty) in module.exports() {
        if ALLOCATORS.contains(&name.as_str()) {
            allocator |= ty == ExternType::Function(i32s(1, 1));
            continue;
        }
        let mut known = CALLBACKS.iter().chain(start_functions);
        let Some(&(name, mut params, results)) = known.find(|(n, ..)| *n == name) else {
            continue;
        };
        if abi == AbiVersion::V0_1_0
            && matches!(
                name,
                "proxy_on_request_headers" | "proxy_on_response_headers"
            )
        {
            params = 2;
        }
        let expected = ExternType::Function(i32s(params, results));
        if ty != expected {
            return Err(LoadError::ExportType {
                name,
                abi,
                expected: expected.to_string(),
                found: ty.to_string(),
                offset: None,
            });
        }
    }
    if allocator {
        Ok(())
    } else {
        Err(LoadError::NoAllocator)
    }
}

fn i32s(params: usize, results: usize) -> Signature {
    Signature::new(
        &vec![ValueType::I32; params],
        &vec![ValueType::I32; results],
    )
}
