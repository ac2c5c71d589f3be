//! The proxy-wasm ABI 0.2.1 in Zig, as far as filters of HTTP use it. A filter imports this
//! file and exports its callbacks by the names of the ABI:
//!
//!     export fn proxy_on_request_headers(stream: u32, count: u32, end: u32) proxy.Action
//!
//! What a function returns as `[]u8` belongs to the caller, who gives it back to
//! `allocator`.

const std = @import("std");

pub const allocator = std.heap.wasm_allocator;

/// What callbacks on headers and bodies return. A pause in a callback on a body holds what
/// has come, and the next call is shown all of it.
pub const Action = enum(u32) { proceed = 0, pause = 1 };

pub const LogLevel = enum(u32) { trace, debug, info, warn, err, critical };

pub const Stream = enum(u32) { request = 0, response = 1 };

/// What the host says where it does not do what it was asked for.
pub const Error = error{ NotFound, BadArgument, Empty, CasMismatch, InternalFailure, Unimplemented, Other };

fn check(status: u32) Error!void {
    return switch (status) {
        0 => {},
        1 => Error.NotFound,
        2 => Error.BadArgument,
        7 => Error.Empty,
        8 => Error.CasMismatch,
        10 => Error.InternalFailure,
        12 => Error.Unimplemented,
        else => Error.Other,
    };
}

/// Writes a line to the host's log; what is longer than a kilobyte is cut.
pub fn log(level: LogLevel, comptime format: []const u8, arguments: anytype) void {
    var line: [1024]u8 = undefined;
    const text = std.fmt.bufPrint(&line, format, arguments) catch &line;
    _ = proxy_log(level, text.ptr, text.len);
}

/// A panic is logged, and ends the VM.
pub const panic = std.debug.FullPanic(struct {
    fn call(message: []const u8, _: ?usize) noreturn {
        _ = proxy_log(.critical, message.ptr, message.len);
        @trap();
    }
}.call);

/// A map of headers or trailers.
pub const Headers = enum(u32) {
    request = 0,
    request_trailers = 1,
    response = 2,
    response_trailers = 3,
    call_response = 6,
    call_response_trailers = 7,

    /// The first value of a name, if there is one.
    pub fn get(map: Headers, name: []const u8) Error!?[]u8 {
        var value: Bytes = .{};
        const status = proxy_get_header_map_value(map, name.ptr, name.len, &value.start, &value.length);
        if (status == 1) return null;
        try check(status);
        return value.slice();
    }

    pub fn add(map: Headers, name: []const u8, value: []const u8) Error!void {
        try check(proxy_add_header_map_value(map, name.ptr, name.len, value.ptr, value.len));
    }

    /// Leaves one value of a name: this one.
    pub fn replace(map: Headers, name: []const u8, value: []const u8) Error!void {
        try check(proxy_replace_header_map_value(map, name.ptr, name.len, value.ptr, value.len));
    }

    pub fn remove(map: Headers, name: []const u8) Error!void {
        try check(proxy_remove_header_map_value(map, name.ptr, name.len));
    }
};

pub const Buffer = enum(u32) {
    request_body = 0,
    response_body = 1,
    call_response_body = 4,
    vm_configuration = 6,
    plugin_configuration = 7,

    /// The first `size` bytes, or what there is of them.
    pub fn read(buffer: Buffer, size: usize) Error![]u8 {
        var bytes: Bytes = .{};
        const status = proxy_get_buffer_bytes(buffer, 0, size, &bytes.start, &bytes.length);
        // There is no buffer where there is nothing.
        if (status == 1) return bytes.slice();
        try check(status);
        return bytes.slice();
    }

    /// Puts `bytes` in the place of the first `size` bytes.
    pub fn write(buffer: Buffer, size: usize, bytes: []const u8) Error!void {
        try check(proxy_set_buffer_bytes(buffer, 0, size, bytes.ptr, bytes.len));
    }
};

/// A header that is sent.
pub const Pair = struct { []const u8, []const u8 };

/// Answers the request in the place of the upstream.
pub fn respond(status: u32, headers: []const Pair, body: []const u8) Error!void {
    const pairs = encode(headers);
    defer allocator.free(pairs);
    try check(proxy_send_local_response(status, "", 0, body.ptr, body.len, pairs.ptr, pairs.len, -1));
}

/// Lets a stream go on that was paused.
pub fn proceed(stream: Stream) Error!void {
    try check(proxy_continue_stream(stream));
}

/// Has what follows be for this context, until the callback returns.
pub fn setEffectiveContext(context: u32) Error!void {
    try check(proxy_set_effective_context(context));
}

/// Calls a cluster; the answer comes to `proxy_on_http_call_response` with the number that
/// is returned. The headers need `:method`, `:path` and `:authority`.
pub fn httpCall(cluster: []const u8, headers: []const Pair, body: []const u8, timeout_milliseconds: u32) Error!u32 {
    const pairs = encode(headers);
    defer allocator.free(pairs);
    var call: u32 = 0;
    try check(proxy_http_call(
        cluster.ptr,
        cluster.len,
        pairs.ptr,
        pairs.len,
        body.ptr,
        body.len,
        "",
        0,
        timeout_milliseconds,
        &call,
    ));
    return call;
}

/// Pairs as the host takes them: their number, all lengths, then names and values, each
/// with a NUL behind it.
fn encode(pairs: []const Pair) []u8 {
    var size: usize = 4;
    for (pairs) |pair| size += 8 + pair[0].len + pair[1].len + 2;
    const bytes = allocator.alloc(u8, size) catch @panic("out of memory");
    put(bytes, 0, pairs.len);
    var length: usize = 4;
    var text: usize = 4 + 8 * pairs.len;
    for (pairs) |pair| {
        inline for (.{ pair[0], pair[1] }) |part| {
            put(bytes, length, part.len);
            length += 4;
            @memcpy(bytes[text..][0..part.len], part);
            bytes[text + part.len] = 0;
            text += part.len + 1;
        }
    }
    return bytes;
}

fn put(bytes: []u8, at: usize, number: usize) void {
    std.mem.writeInt(u32, bytes[at..][0..4], @intCast(number), .little);
}

/// Where the host has put something.
const Bytes = struct {
    start: ?[*]u8 = null,
    length: usize = 0,

    fn slice(bytes: Bytes) []u8 {
        const start = bytes.start orelse return &.{};
        return start[0..bytes.length];
    }
};

export fn proxy_abi_version_0_2_1() void {}

export fn proxy_on_memory_allocate(size: usize) ?[*]u8 {
    const bytes = allocator.alloc(u8, size) catch return null;
    return bytes.ptr;
}

extern "env" fn proxy_log(level: LogLevel, text: [*]const u8, length: usize) u32;
extern "env" fn proxy_get_header_map_value(map: Headers, name: [*]const u8, name_length: usize, value: *?[*]u8, value_length: *usize) u32;
extern "env" fn proxy_add_header_map_value(map: Headers, name: [*]const u8, name_length: usize, value: [*]const u8, value_length: usize) u32;
extern "env" fn proxy_replace_header_map_value(map: Headers, name: [*]const u8, name_length: usize, value: [*]const u8, value_length: usize) u32;
extern "env" fn proxy_remove_header_map_value(map: Headers, name: [*]const u8, name_length: usize) u32;
extern "env" fn proxy_get_buffer_bytes(buffer: Buffer, start: usize, length: usize, bytes: *?[*]u8, bytes_length: *usize) u32;
extern "env" fn proxy_set_buffer_bytes(buffer: Buffer, start: usize, length: usize, bytes: [*]const u8, bytes_length: usize) u32;
extern "env" fn proxy_send_local_response(status: u32, details: [*]const u8, details_length: usize, body: [*]const u8, body_length: usize, headers: [*]const u8, headers_length: usize, grpc_status: i32) u32;
extern "env" fn proxy_continue_stream(stream: Stream) u32;
extern "env" fn proxy_set_effective_context(context: u32) u32;
extern "env" fn proxy_http_call(cluster: [*]const u8, cluster_length: usize, headers: [*]const u8, headers_length: usize, body: [*]const u8, body_length: usize, trailers: [*]const u8, trailers_length: usize, timeout_milliseconds: u32, call: *u32) u32;
