//! [`Tracer`]: every call between a filter and its host, in words.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;

use weir_abi::{BufferType, ContextId, LogLevel, MapType, SeenCall, Status, Watch, wire};

use crate::hostcalls::{self, Argument};
use crate::show;

/// Writes down every callback and hostcall of a VM.
#[derive(Default)]
pub(crate) struct Tracer {
    lines: RefCell<String>,
    depth: Cell<usize>,
}

impl Tracer {
    /// What was written since this was asked last.
    pub(crate) fn take(&self) -> String {
        self.lines.take()
    }

    fn line(&self, line: &str) {
        let indent = "  ".repeat(self.depth.get());
        // Writing to a string cannot fail.
        let _ = writeln!(self.lines.borrow_mut(), "    {indent}{line}");
    }
}

impl Watch for Tracer {
    fn called(&self, context: ContextId, name: &'static str, arguments: &[u32]) {
        let arguments = callback_arguments(name, arguments);
        self.line(&format!("-> {name}({arguments}) of context {context}"));
        self.depth.set(self.depth.get() + 1);
    }

    fn returned(&self, _context: ContextId, name: &'static str, result: Option<u32>) {
        self.depth.set(self.depth.get().saturating_sub(1));
        let result =
            result.map_or_else(String::new, |r| format!(" = {}", callback_result(name, r)));
        self.line(&format!("<- {name}{result}"));
    }

    fn hostcall(&self, call: &SeenCall<'_>) {
        self.line(&hostcall(call));
    }
}

/// Names of the parameters behind the context, where there is more to say than a
/// number.
fn callback_arguments(name: &str, arguments: &[u32]) -> String {
    let names: &[&str] = match name {
        "proxy_on_context_create" => &["parent"],
        "proxy_on_vm_start" | "proxy_on_configure" => &["bytes"],
        "proxy_on_request_headers" | "proxy_on_response_headers" => &["headers", "end_of_stream"],
        "proxy_on_request_body"
        | "proxy_on_response_body"
        | "proxy_on_downstream_data"
        | "proxy_on_upstream_data" => &["bytes", "end_of_stream"],
        "proxy_on_request_trailers" | "proxy_on_response_trailers" => &["trailers"],
        "proxy_on_queue_ready" => &["queue"],
        "proxy_on_downstream_connection_close" | "proxy_on_upstream_connection_close" => &["peer"],
        "proxy_on_http_call_response" => &["token", "headers", "bytes", "trailers"],
        "proxy_on_grpc_receive_initial_metadata" | "proxy_on_grpc_receive_trailing_metadata" => {
            &["token", "metadata"]
        }
        "proxy_on_grpc_receive" | "envoy_on_resolve_dns" => &["token", "bytes"],
        "proxy_on_grpc_close" => &["token", "status"],
        _ => &[],
    };
    let rest = arguments.get(1..).unwrap_or_default();
    let shown = names.iter().zip(rest).map(|(name, value)| match *name {
        "end_of_stream" => format!("{name}: {}", *value != 0),
        name => format!("{name}: {value}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn callback_result(name: &str, result: u32) -> String {
    let word = match (name, result) {
        ("proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_done", 0) => "false",
        ("proxy_on_vm_start" | "proxy_on_configure" | "proxy_on_done", _) => "true",
        (_, 0) => "Continue",
        ("proxy_on_request_headers" | "proxy_on_response_headers", 1) => "StopIteration",
        ("proxy_on_request_headers" | "proxy_on_response_headers", 2) => "ContinueAndEndStream",
        ("proxy_on_request_headers" | "proxy_on_response_headers", 3) => "StopAllAndBuffer",
        ("proxy_on_request_headers" | "proxy_on_response_headers", _) => "StopAllAndWatermark",
        ("proxy_on_request_body" | "proxy_on_response_body", 1) => "StopAndBuffer",
        ("proxy_on_request_body" | "proxy_on_response_body", 2) => "StopAndWatermark",
        ("proxy_on_request_body" | "proxy_on_response_body", _) => "StopNoBuffer",
        _ => "Stop",
    };
    word.to_owned()
}

fn hostcall(call: &SeenCall<'_>) -> String {
    let name = call.hostcall.name();
    let Some(described) = hostcalls::described(name) else {
        let arguments: Vec<_> = call.arguments.iter().map(u64::to_string).collect();
        let answer = call
            .answer
            .map_or_else(String::new, |errno| format!(" = errno {errno}"));
        return format!("{name}({}){answer}", arguments.join(", "));
    };
    let is_proxy = name.starts_with("proxy_") || name.starts_with("envoy_");
    let gave = call.answer == Some(0);
    let mut taken = Vec::new();
    let mut given = Vec::new();
    let mut at = 0;
    let mut next = || {
        let argument = call.arguments.get(at).copied().unwrap_or_default();
        at += 1;
        argument
    };
    for argument in described.arguments {
        let first = next();
        match argument {
            Argument::Bytes(name) => {
                taken.push(format!("{name}: {}", bytes(call.memory, first, next())));
            }
            Argument::Pairs(name) => {
                taken.push(format!("{name}: {}", pairs(call.memory, first, next())));
            }
            Argument::Path(name) => {
                let path = slice(call.memory, first, next()).map(|path| {
                    let segments = wire::property_segments(path).map(show::bytes);
                    segments.collect::<Vec<_>>().join(".")
                });
                taken.push(format!("{name}: {}", path.unwrap_or_else(outside)));
            }
            Argument::BytesOut | Argument::PairsOut => {
                let length = next();
                let found = u32_at(call.memory, first).zip(u32_at(call.memory, length));
                if let Some((address, length)) = found.filter(|_| gave) {
                    let show = if *argument == Argument::PairsOut {
                        pairs
                    } else {
                        bytes
                    };
                    given.push(show(call.memory, address.into(), length.into()));
                }
            }
            Argument::U32Out(name) => {
                if let Some(value) = u32_at(call.memory, first).filter(|_| gave) {
                    given.push(format!("{name} {value}"));
                }
            }
            Argument::U64Out(name) => {
                let value = slice(call.memory, first, 8).and_then(|b| b.try_into().ok());
                if let Some(value) = value.filter(|_| gave) {
                    given.push(format!("{name} {}", u64::from_le_bytes(value)));
                }
            }
            Argument::Pieces => taken.push(pieces(call.memory, first, next())),
            Argument::Number(name) => taken.push(format!("{name}: {first}")),
            Argument::Signed(name) => {
                // 32 bits that are all set are -1 in either width.
                let value = match u32::try_from(first) {
                    Ok(value) => i64::from(value.cast_signed()),
                    Err(_) => first.cast_signed(),
                };
                taken.push(format!("{name}: {value}"));
            }
            Argument::Level => {
                let level = u32::try_from(first).ok().and_then(LogLevel::from_wire);
                taken.push(level.map_or_else(|| first.to_string(), |l| l.to_string()));
            }
            Argument::Map => {
                let map = u32::try_from(first).ok().and_then(MapType::from_wire);
                taken.push(map.map_or_else(|| first.to_string(), |map| format!("{map:?}")));
            }
            Argument::Buffer => {
                let buffer = u32::try_from(first).ok().and_then(BufferType::from_wire);
                taken.push(buffer.map_or_else(|| first.to_string(), |b| format!("{b:?}")));
            }
            Argument::Stream => taken.push(word(first, STREAMS)),
            Argument::Metric => taken.push(word(first, METRICS)),
            Argument::Flag(name) => taken.push(format!("{name}: {}", first != 0)),
            Argument::Address => {}
        }
    }
    let answer = match call.answer {
        None => String::new(),
        Some(status) if is_proxy => match Status::from_wire(status) {
            Some(status) => format!(" = {status:?}"),
            None => format!(" = status {status}"),
        },
        Some(0) => String::new(),
        Some(errno) => format!(" = errno {errno}"),
    };
    let given = if given.is_empty() {
        String::new()
    } else {
        format!(" {}", given.join(", "))
    };
    format!("{name}({}){answer}{given}", taken.join(", "))
}

const STREAMS: &[&str] = &["Request", "Response", "Downstream", "Upstream"];
const METRICS: &[&str] = &["Counter", "Gauge", "Histogram"];

fn word(number: u64, words: &[&str]) -> String {
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    words
        .get(index)
        .map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

fn outside() -> String {
    "outside of the memory".to_owned()
}

fn slice(memory: &[u8], address: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(address).ok()?;
    let length = usize::try_from(length).ok()?;
    memory.get(start..start.checked_add(length)?)
}

fn u32_at(memory: &[u8], address: u64) -> Option<u32> {
    let bytes = slice(memory, address, 4)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn bytes(memory: &[u8], address: u64, length: u64) -> String {
    let bytes = slice(memory, address, length);
    bytes.map_or_else(outside, |bytes| format!("\"{}\"", show::bytes(bytes)))
}

fn pairs(memory: &[u8], address: u64, length: u64) -> String {
    let Some(wire) = slice(memory, address, length) else {
        return outside();
    };
    let Some(pairs) = wire::decode_pairs(wire) else {
        return format!("malformed pairs of {length} bytes");
    };
    let pairs = pairs.iter();
    let pairs = pairs.map(|(name, value)| format!("{}: {}", show::bytes(name), show::bytes(value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

/// What a guest writes by WASI, from several pieces of its memory.
fn pieces(memory: &[u8], address: u64, count: u64) -> String {
    let mut text = Vec::new();
    for index in 0..count.min(PIECES_MAX) {
        let piece = address + index * 8;
        let found = u32_at(memory, piece).zip(u32_at(memory, piece + 4));
        let found = found.and_then(|(start, length)| slice(memory, start.into(), length.into()));
        text.extend_from_slice(found.unwrap_or_default());
    }
    format!("\"{}\"", show::bytes(&text))
}

/// Pieces of one write that are shown.
const PIECES_MAX: u64 = 64;
