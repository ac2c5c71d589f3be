//! A guest that does what the script in its configuration says. It logs every
//! callback with its arguments, and every hostcall with its status and what it
//! gave, one line each, at level info:
//!
//! ```text
//! #2 request_headers 5 end
//! . get request :path = ok "/x"
//! ```

mod abi;
mod answer;
mod arguments;
mod foreign;
mod operation;
mod pairs;
mod script;
mod silent;
mod state;
mod text;
mod version;
mod wasi;

use state::State;

/// What the callbacks return unless the script says otherwise.
const CONTINUE: u32 = 0;
const YES: u32 = 1;

pub(crate) fn say(line: &str) {
    // SAFETY: the text lives as long as the call
    unsafe { abi::proxy_log(2, line.as_ptr(), line.len()) };
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut block = std::mem::ManuallyDrop::new(Vec::<u8>::with_capacity(size));
    block.as_mut_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    State::created(context, parent);
    // A root context has no other script before it has started.
    if let (0, Ok(script)) = (parent, std::env::var("SCRIPT")) {
        State::configure(context, script.as_bytes());
    }
    call(context, "context_create", &format!("{parent}"), false, 0);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(root: u32, size: usize) -> u32 {
    if size > 0 {
        State::configure(root, &silent::buffer(6));
    }
    call(root, "vm_start", &format!("{size}"), false, YES)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    if size > 0 {
        State::configure(root, &silent::buffer(7));
    }
    call(root, "configure", &size.to_string(), false, YES)
}

/// Without a live stream, or with nothing to do, a tick is not even logged.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(root: u32) {
    if State::streams().is_empty() {
        return;
    }
    let due = State::due(root, "tick", false);
    if !due.is_empty() {
        say(&format!("#{root} tick"));
        run(root, due, CONTINUE);
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_body(context: u32, size: usize, end: u32) -> u32 {
    call(
        context,
        "request_body",
        &size.to_string(),
        end != 0,
        CONTINUE,
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_trailers(context: u32, count: u32) -> u32 {
    call(
        context,
        "request_trailers",
        &count.to_string(),
        false,
        CONTINUE,
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(context: u32, size: usize, end: u32) -> u32 {
    call(
        context,
        "response_body",
        &size.to_string(),
        end != 0,
        CONTINUE,
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_trailers(context: u32, count: u32) -> u32 {
    call(
        context,
        "response_trailers",
        &count.to_string(),
        false,
        CONTINUE,
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_http_call_response(
    root: u32,
    token: u32,
    headers: u32,
    body: usize,
    trailers: u32,
) {
    let arguments = format!("{token} headers {headers} body {body} trailers {trailers}");
    call(root, "http_call_response", &arguments, false, CONTINUE);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_receive_initial_metadata(root: u32, token: u32, count: u32) {
    call(
        root,
        "grpc_initial_metadata",
        &format!("{token} {count}"),
        false,
        CONTINUE,
    );
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_receive(root: u32, token: u32, size: usize) {
    call(
        root,
        "grpc_message",
        &format!("{token} {size}"),
        false,
        CONTINUE,
    );
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_receive_trailing_metadata(root: u32, token: u32, count: u32) {
    call(
        root,
        "grpc_trailing_metadata",
        &format!("{token} {count}"),
        false,
        CONTINUE,
    );
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_close(root: u32, token: u32, status: u32) {
    call(
        root,
        "grpc_close",
        &format!("{token} {status}"),
        false,
        CONTINUE,
    );
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_queue_ready(root: u32, _queue: u32) {
    call(root, "queue_ready", "", false, CONTINUE);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_foreign_function(context: u32, function: u32, size: usize) {
    call(
        context,
        "foreign_function",
        &format!("{function} {size}"),
        false,
        CONTINUE,
    );
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_on_resolve_dns(root: u32, token: u32, size: usize) {
    call(
        root,
        "resolve_dns",
        &format!("{token} {size}"),
        false,
        CONTINUE,
    );
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_new_connection(context: u32) -> u32 {
    call(context, "new_connection", "", false, CONTINUE)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_downstream_data(context: u32, size: usize, end: u32) -> u32 {
    call(
        context,
        "downstream_data",
        &size.to_string(),
        end != 0,
        CONTINUE,
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_upstream_data(context: u32, size: usize, end: u32) -> u32 {
    call(
        context,
        "upstream_data",
        &size.to_string(),
        end != 0,
        CONTINUE,
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_downstream_connection_close(context: u32, peer: u32) {
    call(
        context,
        "downstream_close",
        &peer.to_string(),
        false,
        CONTINUE,
    );
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_upstream_connection_close(context: u32, peer: u32) {
    call(
        context,
        "upstream_close",
        &peer.to_string(),
        false,
        CONTINUE,
    );
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_log(context: u32) {
    call(context, "log", "", false, CONTINUE);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_done(context: u32) -> u32 {
    call(context, "done", "", false, YES)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_delete(context: u32) {
    call(context, "delete", "", false, CONTINUE);
    State::deleted(context);
}

fn request_headers(context: u32, count: u32, end: bool) -> u32 {
    if State::wants_path(context) {
        State::set_path(context, silent::path());
    }
    call(
        context,
        "request_headers",
        &count.to_string(),
        end,
        CONTINUE,
    )
}

fn response_headers(context: u32, count: u32, end: bool) -> u32 {
    call(
        context,
        "response_headers",
        &count.to_string(),
        end,
        CONTINUE,
    )
}

/// Logs a callback, runs what the script has for it, and gives its result.
fn call(context: u32, callback: &str, arguments: &str, end: bool, result: u32) -> u32 {
    let mut line = format!("#{context} {callback}");
    for part in [arguments, if end { "end" } else { "" }] {
        if !part.is_empty() {
            line = line + " " + part;
        }
    }
    say(&line);
    run(context, State::due(context, callback, end), result)
}

fn run(context: u32, due: Vec<Vec<Vec<String>>>, result: u32) -> u32 {
    let mut returned = result;
    for words in due.iter().flatten() {
        operation::run(context, words, &mut returned);
    }
    if returned != result {
        say(&format!(". returns {returned}"));
    }
    returned
}
