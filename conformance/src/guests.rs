//! Filters in WebAssembly text, for what no proper filter does.

use std::fmt::Write as _;

const START: &str = r#"(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value"
    (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes"
    (func $read (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes"
    (func $write (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $as (param i32) (result i32)))
  (memory (export "memory") 64)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
"#;

/// A filter that loops, leaks, traps and lies as the header `x-chaos` of a request
/// says, in text form.
pub const CHAOS: &str = include_str!("chaos.wat");

/// A filter that marks requests with `x-version: VERSION`.
pub fn request_marker(version: &str) -> Vec<u8> {
    marker("request", 0, version)
}

/// A filter that marks responses with `x-version: VERSION`.
pub fn response_marker(version: &str) -> Vec<u8> {
    marker("response", 2, version)
}

fn marker(message: &str, map: u32, version: &str) -> Vec<u8> {
    let length = version.len();
    let text = format!(
        "{START}
  (data (i32.const 16) \"x-version\")
  (data (i32.const 32) \"{version}\")
  (func (export \"proxy_on_{message}_headers\") (param i32 i32 i32) (result i32)
    (call $add (i32.const {map}) (i32.const 16) (i32.const 9)
               (i32.const 32) (i32.const {length}))))"
    );
    wat::parse_str(text).unwrap()
}

/// A filter that does nothing; each number makes another.
pub fn numbered(number: u32) -> Vec<u8> {
    let text = format!(
        r#"(module
          (memory (export "memory") 1)
          (global (export "number") i32 (i32.const {number}))
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "malloc") (param i32) (result i32) (i32.const 1024)))"#
    );
    wat::parse_str(text).unwrap()
}

/// Reads every piece of both bodies and lets it pass.
pub fn body_reader() -> String {
    format!(
        "{START}
  (func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32)
    (drop (call $read (i32.const 0) (i32.const 0) (local.get 1) (i32.const 0) (i32.const 4)))
    (i32.const 0))
  (func (export \"proxy_on_response_body\") (param i32 i32 i32) (result i32)
    (drop (call $read (i32.const 1) (i32.const 0) (local.get 1) (i32.const 0) (i32.const 4)))
    (i32.const 0)))"
    )
}

/// Holds a request with `x-pause`, or the response to one with
/// `x-pause-response`, in its headers, pushing back; a request with `x-release`
/// lets the one go that was held last.
pub fn pauser() -> String {
    format!(
        "{START}
  (data (i32.const 16) \"x-pause-response\")
  (data (i32.const 32) \"x-release\")
  (global $request (mut i32) (i32.const 0))
  (global $response (mut i32) (i32.const 0))
  (func $has (param i32 i32) (result i32)
    (i32.eqz (call $get (i32.const 0) (local.get 0) (local.get 1) (i32.const 0) (i32.const 4))))
  (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
    (if (call $has (i32.const 16) (i32.const 7))
      (then (global.set $request (local.get 0)) (return (i32.const 4))))
    (if (call $has (i32.const 16) (i32.const 16))
      (then (global.set $response (local.get 0))))
    (if (call $has (i32.const 32) (i32.const 9))
      (then
        (if (global.get $request) (then
          (drop (call $as (global.get $request)))
          (drop (call $continue (i32.const 0)))
          (global.set $request (i32.const 0))))
        (if (global.get $response) (then
          (drop (call $as (global.get $response)))
          (drop (call $continue (i32.const 1)))
          (global.set $response (i32.const 0))))))
    (i32.const 0))
  (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)
    (if (i32.eq (global.get $response) (local.get 0)) (then (return (i32.const 4))))
    (i32.const 0)))"
    )
}

/// Holds every request from its first piece of body on, pushing back.
pub fn body_pauser() -> String {
    format!(
        "{START}
  (func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32) (i32.const 2)))"
    )
}

/// Which of a stream's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
}

/// What is done to a map.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    Add(Map, &'static [u8], &'static [u8]),
    Replace(Map, &'static [u8], &'static [u8]),
}

/// Edits the maps of every stream.
pub fn editor(edits: &[Edit]) -> String {
    let mut data = String::new();
    let mut calls = [const { String::new() }; 4];
    let mut at = 1024;
    let mut place = |bytes: &[u8]| {
        let start = at;
        at += bytes.len();
        let text: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
        let _ = writeln!(data, "  (data (i32.const {start}) \"{text}\")");
        format!("(i32.const {start}) (i32.const {})", bytes.len())
    };
    for edit in edits {
        let (call, map, name, value) = match edit {
            Edit::Add(map, name, value) => ("$add", *map, name, value),
            Edit::Replace(map, name, value) => ("$replace", *map, name, value),
        };
        let (name, value) = (place(name), place(value));
        let _ = writeln!(
            calls[map as usize],
            "    (drop (call {call} (i32.const {}) {name} {value}))",
            map as usize
        );
    }
    let [request, request_trailers, response, response_trailers] = calls;
    format!(
        "{START}{data}
  (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
    {request} (i32.const 0))
  (func (export \"proxy_on_request_trailers\") (param i32 i32) (result i32)
    {request_trailers} (i32.const 0))
  (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)
    {response} (i32.const 0))
  (func (export \"proxy_on_response_trailers\") (param i32 i32) (result i32)
    {response_trailers} (i32.const 0)))"
    )
}

/// Puts other text in the place of every piece of a body, and leaves the headers
/// as they are.
pub fn body_replacer(request: Option<&str>, response: Option<&str>) -> String {
    let mut text = START.to_owned();
    let directions = [("request", request, 1024), ("response", response, 8192)];
    for (buffer, (direction, body, at)) in directions.into_iter().enumerate() {
        let Some(body) = body else { continue };
        let _ = write!(
            text,
            "  (data (i32.const {at}) \"{body}\")
  (func (export \"proxy_on_{direction}_body\") (param i32 i32 i32) (result i32)
    (drop (call $write (i32.const {buffer}) (i32.const 0) (local.get 1) (i32.const {at})
                       (i32.const {})))
    (i32.const 0))\n",
            body.len()
        );
    }
    text + ")"
}

/// Reads every piece of both directions of a connection and lets it pass.
pub fn connection_reader() -> String {
    format!(
        "{START}
  (func (export \"proxy_on_downstream_data\") (param i32 i32 i32) (result i32)
    (drop (call $read (i32.const 2) (i32.const 0) (local.get 1) (i32.const 0) (i32.const 4)))
    (i32.const 0))
  (func (export \"proxy_on_upstream_data\") (param i32 i32 i32) (result i32)
    (drop (call $read (i32.const 3) (i32.const 0) (local.get 1) (i32.const 0) (i32.const 4)))
    (i32.const 0)))"
    )
}

/// Holds what clients say until another connection comes, which lets the one go
/// that was held first, and all that follow.
pub fn connection_pauser() -> String {
    format!(
        "{START}
  (global $held (mut i32) (i32.const 0))
  (global $released (mut i32) (i32.const 0))
  (func (export \"proxy_on_new_connection\") (param i32) (result i32)
    (if (global.get $held) (then
      (global.set $released (i32.const 1))
      (drop (call $as (global.get $held)))
      (drop (call $continue (i32.const 2)))))
    (i32.const 0))
  (func (export \"proxy_on_downstream_data\") (param i32 i32 i32) (result i32)
    (if (global.get $released) (then (return (i32.const 0))))
    (if (i32.eqz (global.get $held)) (then (global.set $held (local.get 0))))
    (i32.const 1)))"
    )
}
