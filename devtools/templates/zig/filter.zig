//! Sets the header x-{{name}} in requests and responses to its configuration, and
//! answers requests for /greeting with it.

const std = @import("std");
const proxy = @import("proxy_wasm.zig");

pub const panic = proxy.panic;

/// Greetings by the numbers of contexts: several filters of one module may share a VM,
/// and each has a root context and a greeting of its own.
var greetings: std.AutoHashMapUnmanaged(u32, []const u8) = .empty;

export fn proxy_on_context_create(context: u32, parent: u32) void {
    const greeting = greetings.get(parent) orelse "";
    greetings.put(proxy.allocator, context, greeting) catch @panic("out of memory");
}

export fn proxy_on_delete(context: u32) void {
    _ = greetings.remove(context);
}

export fn proxy_on_configure(root: u32, size: usize) bool {
    const greeting = must(proxy.Buffer.plugin_configuration.read(size));
    if (greeting.len == 0) {
        proxy.log(.err, "{{name}}: the configuration has to be a greeting", .{});
        return false;
    }
    greetings.getPtr(root).?.* = greeting;
    return true;
}

export fn proxy_on_request_headers(stream: u32, _: u32, _: u32) proxy.Action {
    const greeting = greetings.get(stream).?;
    const path = must(proxy.Headers.request.get(":path")) orelse return .proceed;
    defer proxy.allocator.free(path);
    if (std.mem.eql(u8, path, "/greeting")) {
        must(proxy.respond(200, &.{}, greeting));
        return .pause;
    }
    must(proxy.Headers.request.replace("x-{{name}}", greeting));
    return .proceed;
}

export fn proxy_on_response_headers(stream: u32, _: u32, _: u32) proxy.Action {
    must(proxy.Headers.response.replace("x-{{name}}", greetings.get(stream).?));
    return .proceed;
}

/// Where the host refuses what has to be done, the VM ends: the request gets 503, and the
/// next one a new VM.
fn must(result: anytype) @typeInfo(@TypeOf(result)).error_union.payload {
    return result catch |err| @panic(@errorName(err));
}
