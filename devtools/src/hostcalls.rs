//! Every function that a host offers: what it means, and what its arguments are.

/// What stands at one place of a hostcall's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Address and length of bytes that the guest hands over.
    Bytes(&'static str),
    /// The same, of header pairs.
    Pairs(&'static str),
    /// The same, of the path of a property.
    Path(&'static str),
    /// Addresses at which the host leaves address and length of bytes.
    BytesOut,
    /// The same, of header pairs.
    PairsOut,
    /// Address of a number of 32 bits that the host leaves.
    U32Out(&'static str),
    /// The same of 64 bits.
    U64Out(&'static str),
    /// Address and number of pieces of memory (WASI).
    Pieces,
    Number(&'static str),
    /// A number of 32 bits with a sign.
    Signed(&'static str),
    Level,
    Map,
    Buffer,
    Stream,
    Metric,
    Flag(&'static str),
    /// An address that means nothing to a reader.
    Address,
}

impl Argument {
    /// How many parameters it takes.
    fn width(self) -> usize {
        match self {
            Bytes(_) | Pairs(_) | Path(_) | BytesOut | PairsOut | Pieces => 2,
            _ => 1,
        }
    }
}

/// A function that guests may import.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) arguments: &'static [Argument],
}

use Argument::{
    Address, Buffer, Bytes, BytesOut, Flag, Level, Map, Metric, Number, Pairs, PairsOut, Path,
    Pieces, Signed, Stream, U32Out, U64Out,
};

const fn call(
    name: &'static str,
    meaning: &'static str,
    arguments: &'static [Argument],
) -> Described {
    Described {
        name,
        meaning,
        arguments,
    }
}

/// The functions of the ABI.
const HOSTCALLS: &[Described] = &[
    call(
        "proxy_log",
        "writes a line into the log",
        &[Level, Bytes("message")],
    ),
    call(
        "proxy_get_log_level",
        "tells the lowest level that is logged",
        &[U32Out("level")],
    ),
    call(
        "proxy_get_current_time_nanoseconds",
        "tells the time",
        &[U64Out("time")],
    ),
    call(
        "proxy_set_tick_period_milliseconds",
        "sets the period of `proxy_on_tick`",
        &[Number("milliseconds")],
    ),
    call(
        "proxy_get_configuration",
        "reads the configuration of the plugin or the VM (ABI 0.1.0)",
        &[BytesOut],
    ),
    call(
        "proxy_get_status",
        "tells how the last callout ended",
        &[U32Out("code"), BytesOut],
    ),
    call(
        "proxy_set_effective_context",
        "acts on another context until the callback returns",
        &[Number("context")],
    ),
    call(
        "proxy_done",
        "ends a root context that has asked for time",
        &[],
    ),
    call(
        "proxy_get_property",
        "reads a property",
        &[Path("path"), BytesOut],
    ),
    call(
        "proxy_set_property",
        "sets a property of the stream",
        &[Path("path"), Bytes("value")],
    ),
    call(
        "proxy_get_buffer_bytes",
        "reads a body, a configuration, data or a message",
        &[Buffer, Number("start"), Number("length"), BytesOut],
    ),
    call(
        "proxy_get_buffer_status",
        "tells the size of a buffer",
        &[Buffer, U32Out("length"), U32Out("flags")],
    ),
    call(
        "proxy_set_buffer_bytes",
        "changes a body or data",
        &[Buffer, Number("start"), Number("length"), Bytes("value")],
    ),
    call(
        "proxy_get_header_map_pairs",
        "reads all headers",
        &[Map, PairsOut],
    ),
    call(
        "proxy_set_header_map_pairs",
        "replaces all headers",
        &[Map, Pairs("headers")],
    ),
    call(
        "proxy_get_header_map_value",
        "reads a header",
        &[Map, Bytes("name"), BytesOut],
    ),
    call(
        "proxy_add_header_map_value",
        "adds a header",
        &[Map, Bytes("name"), Bytes("value")],
    ),
    call(
        "proxy_replace_header_map_value",
        "sets a header",
        &[Map, Bytes("name"), Bytes("value")],
    ),
    call(
        "proxy_remove_header_map_value",
        "removes a header",
        &[Map, Bytes("name")],
    ),
    call(
        "proxy_get_header_map_size",
        "tells the bytes of all headers",
        &[Map, U32Out("bytes")],
    ),
    call("proxy_continue_stream", "ends a pause", &[Stream]),
    call(
        "proxy_continue_request",
        "ends a pause of the request (ABI 0.1.0)",
        &[],
    ),
    call(
        "proxy_continue_response",
        "ends a pause of the response (ABI 0.1.0)",
        &[],
    ),
    call(
        "proxy_clear_route_cache",
        "has a new route chosen (ABI 0.1.0)",
        &[],
    ),
    call(
        "proxy_close_stream",
        "resets the stream or closes the connection",
        &[Stream],
    ),
    call(
        "proxy_send_local_response",
        "answers in place of the upstream",
        &[
            Number("status"),
            Bytes("details"),
            Bytes("body"),
            Pairs("headers"),
            Signed("grpc_status"),
        ],
    ),
    call(
        "proxy_http_call",
        "makes an HTTP request of its own",
        &[
            Bytes("cluster"),
            Pairs("headers"),
            Bytes("body"),
            Pairs("trailers"),
            Number("timeout_ms"),
            U32Out("token"),
        ],
    ),
    call(
        "proxy_grpc_call",
        "makes a gRPC call",
        &[
            Bytes("target"),
            Bytes("service"),
            Bytes("method"),
            Pairs("metadata"),
            Bytes("message"),
            Number("timeout_ms"),
            U32Out("token"),
        ],
    ),
    call(
        "proxy_grpc_stream",
        "opens a gRPC stream",
        &[
            Bytes("target"),
            Bytes("service"),
            Bytes("method"),
            Pairs("metadata"),
            U32Out("token"),
        ],
    ),
    call(
        "proxy_grpc_send",
        "sends a message on a gRPC stream",
        &[Number("token"), Bytes("message"), Flag("end_of_stream")],
    ),
    call(
        "proxy_grpc_cancel",
        "cancels a gRPC call or resets a stream",
        &[Number("token")],
    ),
    call(
        "proxy_grpc_close",
        "ends its own side of a gRPC stream",
        &[Number("token")],
    ),
    call(
        "proxy_get_shared_data",
        "reads shared data",
        &[Bytes("key"), BytesOut, U32Out("cas")],
    ),
    call(
        "proxy_set_shared_data",
        "writes shared data",
        &[Bytes("key"), Bytes("value"), Number("cas")],
    ),
    call(
        "proxy_register_shared_queue",
        "creates a queue and is told of its items",
        &[Bytes("name"), U32Out("queue")],
    ),
    call(
        "proxy_resolve_shared_queue",
        "finds a queue of any VM",
        &[Bytes("vm_id"), Bytes("name"), U32Out("queue")],
    ),
    call(
        "proxy_enqueue_shared_queue",
        "puts an item into a queue",
        &[Number("queue"), Bytes("item")],
    ),
    call(
        "proxy_dequeue_shared_queue",
        "takes an item out of a queue",
        &[Number("queue"), BytesOut],
    ),
    call(
        "proxy_define_metric",
        "defines a metric",
        &[Metric, Bytes("name"), U32Out("metric")],
    ),
    call(
        "proxy_increment_metric",
        "adds to a counter or gauge",
        &[Number("metric"), Signed("delta")],
    ),
    call(
        "proxy_record_metric",
        "sets a gauge, gives a histogram a sample",
        &[Number("metric"), Number("value")],
    ),
    call(
        "proxy_get_metric",
        "reads a counter or gauge",
        &[Number("metric"), U64Out("value")],
    ),
    call(
        "proxy_call_foreign_function",
        "calls a function of the proxy's own by name",
        &[Bytes("name"), Bytes("argument"), BytesOut],
    ),
    call(
        "envoy_resolve_dns",
        "looks a name up (Envoy only)",
        &[Bytes("name"), U32Out("token")],
    ),
    call(
        "pthread_equal",
        "compares two threads (Emscripten)",
        &[Number("a"), Number("b")],
    ),
    call(
        "emscripten_notify_memory_growth",
        "says that the memory has grown (Emscripten)",
        &[Number("memory")],
    ),
];

/// The functions of WASI that mean something here; the others answer an errno.
const WASI: &[Described] = &[
    call(
        "fd_write",
        "writes to standard output or error: a line of the log",
        &[Number("fd"), Pieces, U32Out("written")],
    ),
    call(
        "clock_time_get",
        "tells the time",
        &[Number("clock"), Number("precision"), U64Out("time")],
    ),
    call(
        "clock_res_get",
        "tells how precise a clock is",
        &[Number("clock"), U64Out("resolution")],
    ),
    call(
        "random_get",
        "gives random bytes",
        &[Address, Number("length")],
    ),
    call(
        "environ_sizes_get",
        "counts the environment variables",
        &[U32Out("count"), U32Out("bytes")],
    ),
    call(
        "environ_get",
        "reads the environment variables",
        &[Address, Address],
    ),
    call(
        "args_sizes_get",
        "counts arguments: there are none",
        &[U32Out("count"), U32Out("bytes")],
    ),
    call(
        "args_get",
        "reads arguments: there are none",
        &[Address, Address],
    ),
    call("proc_exit", "ends the guest", &[Number("code")]),
    call("sched_yield", "lets others run: there are none", &[]),
    call(
        "poll_oneoff",
        "waits: returns at once",
        &[Address, Address, Number("count"), U32Out("events")],
    ),
];

/// The function of this name, if it has a meaning of its own.
pub(crate) fn described(name: &str) -> Option<&'static Described> {
    HOSTCALLS.iter().chain(WASI).find(|d| d.name == name)
}

/// The signature of a hostcall, as the guide for authors writes it: what it takes, and
/// behind an arrow what it gives besides its status, as
/// `(map, name: bytes) -> bytes`. Numbers are as wide as the ABI's; `None` for a function
/// of which nothing is known but its type.
#[must_use]
pub fn signature(hostcall: &weir_abi::HostcallType) -> Option<String> {
    let (mut takes, mut gives) = (Vec::new(), Vec::new());
    let mut widths = hostcall.parameters.iter();
    for argument in described(hostcall.name)?.arguments {
        let width = widths.nth(argument.width() - 1)?;
        match argument {
            Bytes(name) => takes.push(format!("{name}: bytes")),
            Pairs(name) => takes.push(format!("{name}: pairs")),
            Path(name) => takes.push(format!("{name}: path")),
            Number(name) => takes.push(format!("{name}: u{width}")),
            Signed(name) => takes.push(format!("{name}: i{width}")),
            Flag(name) => takes.push(format!("{name}: bool")),
            Level => takes.push("level".to_owned()),
            Map => takes.push("map".to_owned()),
            Buffer => takes.push("buffer".to_owned()),
            Stream => takes.push("stream".to_owned()),
            Metric => takes.push("kind: metric".to_owned()),
            Pieces => takes.push("pieces".to_owned()),
            Address => takes.push("address".to_owned()),
            BytesOut => gives.push("bytes".to_owned()),
            PairsOut => gives.push("pairs".to_owned()),
            U32Out(name) => gives.push(format!("{name}: u32")),
            U64Out(name) => gives.push(format!("{name}: u64")),
        }
    }
    let arrow = if gives.is_empty() { "" } else { " -> " };
    Some(format!("({}){arrow}{}", takes.join(", "), gives.join(", ")))
}

/// What a function means, for a person.
pub(crate) fn meaning(namespace: &str, name: &str) -> &'static str {
    match described(name) {
        Some(described) => described.meaning,
        None if namespace.starts_with("wasi_") => {
            "WASI: files and sockets, which there are none of"
        }
        None => "unknown",
    }
}

/// What an export means, for a person; `None` for one of the guest's own.
pub(crate) fn meaning_of_export(name: &str) -> Option<&'static str> {
    if name.starts_with(weir_abi::AbiVersion::MARKER_PREFIX) {
        return Some("marker of the ABI version");
    }
    let exports = EXPORTS.iter().find(|(export, _)| *export == name);
    exports.map(|(_, meaning)| *meaning)
}

const EXPORTS: &[(&str, &str)] = &[
    ("memory", "the guest's memory"),
    (
        "malloc",
        "allocator: the host puts what it hands over there",
    ),
    (
        "proxy_on_memory_allocate",
        "allocator: the host puts what it hands over there",
    ),
    ("_initialize", "start function of a library"),
    ("_start", "start function of a command"),
    ("main", "start function, behind _initialize"),
    ("__main_void", "start function, behind _initialize"),
    (
        "proxy_on_context_create",
        "a plugin, stream or connection begins",
    ),
    ("proxy_on_vm_start", "the VM starts"),
    ("proxy_validate_configuration", "never called"),
    ("proxy_on_configure", "the plugin is configured"),
    ("proxy_on_tick", "the timer is due"),
    ("proxy_on_queue_ready", "an item has come into a queue"),
    ("proxy_on_new_connection", "a TCP connection begins"),
    ("proxy_on_downstream_data", "bytes come from the client"),
    ("proxy_on_upstream_data", "bytes come from the upstream"),
    (
        "proxy_on_downstream_connection_close",
        "the client's connection has closed",
    ),
    (
        "proxy_on_upstream_connection_close",
        "the upstream's connection has closed",
    ),
    ("proxy_on_request_headers", "the request's headers"),
    ("proxy_on_request_body", "a piece of the request's body"),
    ("proxy_on_request_trailers", "the request's trailers"),
    ("proxy_on_request_metadata", "HTTP/2 METADATA: never called"),
    ("proxy_on_response_headers", "the response's headers"),
    ("proxy_on_response_body", "a piece of the response's body"),
    ("proxy_on_response_trailers", "the response's trailers"),
    (
        "proxy_on_response_metadata",
        "HTTP/2 METADATA: never called",
    ),
    ("proxy_on_http_call_response", "an HTTP call has ended"),
    (
        "proxy_on_grpc_receive_initial_metadata",
        "first metadata of a gRPC stream",
    ),
    (
        "proxy_on_grpc_receive",
        "a message of a gRPC call or stream",
    ),
    (
        "proxy_on_grpc_receive_trailing_metadata",
        "last metadata of a gRPC stream",
    ),
    ("proxy_on_grpc_close", "a gRPC call or stream has ended"),
    ("proxy_on_done", "a stream or plugin is about to end"),
    ("proxy_on_log", "a stream is logged"),
    ("proxy_on_delete", "a stream or plugin is gone"),
    ("proxy_on_foreign_function", "never called"),
    (
        "envoy_on_resolve_dns",
        "a name has been looked up (Envoy only)",
    ),
    (
        "envoy_on_stats_update",
        "statistics (Envoy only): never called",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hostcall_is_described_with_all_its_arguments() {
        for hostcall in weir_abi::hostcalls() {
            let Some(described) = described(hostcall.name) else {
                assert!(hostcall.namespace.starts_with("wasi_"), "{}", hostcall.name);
                continue;
            };
            let width: usize = described.arguments.iter().map(|a| a.width()).sum();
            assert_eq!(width, hostcall.parameters.len(), "{}", hostcall.name);
        }
    }

    #[test]
    fn every_callback_is_described() {
        for callback in weir_abi::Callback::all() {
            assert!(meaning_of_export(callback.name()).is_some(), "{callback}");
        }
    }
}
