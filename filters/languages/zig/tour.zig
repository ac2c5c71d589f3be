//! A filter that shows what filters are made of, in Zig; README.md tells what it does.

const std = @import("std");
const proxy = @import("proxy_wasm.zig");

pub const panic = proxy.panic;

/// A filter's configuration; its parts lie in what the host has handed over, which is kept.
const Settings = struct {
    greeting: []const u8 = "",
    find: []const u8 = "",
    replace: []const u8 = "",
    cluster: []const u8 = "",

    fn set(settings: *Settings, line: []const u8) bool {
        const equals = std.mem.indexOfScalar(u8, line, '=') orelse line.len;
        const name = trimmed(line[0..equals]);
        const value = trimmed(line[@min(equals + 1, line.len)..]);
        inline for (.{ "greeting", "find", "replace", "cluster" }) |field| {
            if (std.mem.eql(u8, name, field)) {
                @field(settings, field) = value;
                return true;
            }
        }
        proxy.log(.err, "tour: no such setting: {s}", .{name});
        return false;
    }
};

fn trimmed(text: []const u8) []const u8 {
    return std.mem.trim(u8, text, " \t\r");
}

/// A filter of the configuration: several may share a VM.
const Plugin = struct {
    text: []u8,
    settings: Settings = .{},

    fn configure(plugin: *Plugin) bool {
        var lines = std.mem.splitScalar(u8, plugin.text, '\n');
        while (lines.next()) |line| {
            if (trimmed(line).len > 0 and !plugin.settings.set(line)) return false;
        }
        if (plugin.settings.greeting.len > 0) return true;
        proxy.log(.err, "tour: there is no greeting", .{});
        return false;
    }
};

/// What there is to know of a stream between callbacks.
const Stream = struct {
    settings: Settings,
    call: ?u32 = null,
    rewrites: bool = false,
};

/// Plugins and streams by the numbers of their contexts.
var plugins: std.AutoHashMapUnmanaged(u32, Plugin) = .empty;
var streams: std.AutoHashMapUnmanaged(u32, Stream) = .empty;

export fn proxy_on_configure(root: u32, size: usize) bool {
    const text = must(proxy.Buffer.plugin_configuration.read(size));
    must(plugins.put(proxy.allocator, root, .{ .text = text }));
    return plugins.getPtr(root).?.configure();
}

export fn proxy_on_context_create(context: u32, parent: u32) void {
    const plugin = plugins.get(parent) orelse return;
    must(streams.put(proxy.allocator, context, .{ .settings = plugin.settings }));
}

export fn proxy_on_delete(context: u32) void {
    _ = streams.remove(context);
    if (plugins.fetchRemove(context)) |plugin| proxy.allocator.free(plugin.value.text);
}

/// Where the host refuses what has to be done, the VM ends: the request gets 503, and the
/// next one a new VM.
fn must(result: anytype) @typeInfo(@TypeOf(result)).error_union.payload {
    return result catch |err| @panic(@errorName(err));
}

fn respond(status: u32, body: []const u8) void {
    must(proxy.respond(status, &.{ .{ "content-type", "text/plain" }, .{ "x-language", "zig" } }, body));
}

export fn proxy_on_request_headers(stream: u32, _: u32, _: u32) proxy.Action {
    const settings = streams.get(stream).?.settings;
    must(proxy.Headers.request.add("x-greeting", settings.greeting));
    const path = must(proxy.Headers.request.get(":path")) orelse return .proceed;
    defer proxy.allocator.free(path);
    if (std.mem.eql(u8, path, "/greeting")) {
        respond(200, settings.greeting);
        return .pause;
    }
    if (settings.cluster.len > 0 and std.mem.startsWith(u8, path, "/private")) {
        // Nobody but the service says who it is.
        must(proxy.Headers.request.remove("x-user"));
        ask(streams.getPtr(stream).?, path);
        return .pause;
    }
    return .proceed;
}

fn ask(stream: *Stream, path: []const u8) void {
    const cluster = stream.settings.cluster;
    const headers = [_]proxy.Pair{
        .{ ":method", "GET" },
        .{ ":path", "/check" },
        .{ ":authority", cluster },
        .{ "x-path", path },
    };
    stream.call = proxy.httpCall(cluster, &headers, "", 5000) catch {
        return respond(503, "no answer\n");
    };
}

fn asked(call: u32) ?u32 {
    var all = streams.iterator();
    while (all.next()) |entry| {
        if (entry.value_ptr.call == call) return entry.key_ptr.*;
    }
    return null; // it has ended meanwhile
}

export fn proxy_on_http_call_response(_: u32, call: u32, headers: u32, body_size: usize, _: u32) void {
    const stream = asked(call) orelse return;
    const answer: Answer = if (headers > 0) .read(body_size) else .{}; // 0: there was none
    defer answer.free();
    must(proxy.setEffectiveContext(stream));
    if (std.mem.eql(u8, answer.status, "200")) {
        if (answer.user.len > 0) must(proxy.Headers.request.add("x-user", answer.user));
        must(proxy.proceed(.request));
    } else if (answer.status.len == 0 or answer.status[0] == '5') {
        respond(503, "no answer\n");
    } else {
        respond(403, answer.body);
    }
}

const Answer = struct {
    status: []u8 = &.{},
    user: []u8 = &.{},
    body: []u8 = &.{},

    fn read(body_size: usize) Answer {
        const headers: proxy.Headers = .call_response;
        return .{
            .status = must(headers.get(":status")) orelse &.{},
            .user = must(headers.get("x-user")) orelse &.{},
            .body = must(proxy.Buffer.call_response_body.read(body_size)),
        };
    }

    fn free(answer: Answer) void {
        proxy.allocator.free(answer.status);
        proxy.allocator.free(answer.user);
        proxy.allocator.free(answer.body);
    }
};

export fn proxy_on_response_headers(id: u32, _: u32, end: u32) proxy.Action {
    const stream = streams.getPtr(id).?;
    must(proxy.Headers.response.add("x-greeting", stream.settings.greeting));
    if (stream.settings.find.len > 0 and end == 0) {
        stream.rewrites = true;
        must(proxy.Headers.response.remove("content-length"));
    }
    return .proceed;
}

export fn proxy_on_response_body(id: u32, size: usize, end: u32) proxy.Action {
    const stream = streams.get(id).?;
    if (!stream.rewrites) return .proceed;
    if (end == 0) return .pause; // held, until all of it is there
    const body = must(proxy.Buffer.response_body.read(size));
    defer proxy.allocator.free(body);
    const settings = stream.settings;
    const replaced = must(std.mem.replaceOwned(u8, proxy.allocator, body, settings.find, settings.replace));
    defer proxy.allocator.free(replaced);
    must(proxy.Buffer.response_body.write(size, replaced));
    return .proceed;
}
