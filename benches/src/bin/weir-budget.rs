//! `weir-budget`: what is counted by `cargo xtask budget`, under callgrind. Each
//! operation is done a number of times in [`counted`], by whose name callgrind knows
//! what to count; so it counts nothing of what comes before.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;

use bytes::Bytes;
use weir_abi::{Direction, HeaderMap, wire};
use weir_benches::guest;
use weir_benches::inputs::{HEADERS, HELLO_CONFIGURATION, REQUEST};
use weir_benches::rig::Rig;

type Attempt = Result<(), Box<dyn Error>>;

/// Something that is done again and again.
type Operation = Box<dyn FnMut() -> Attempt>;

fn operation(operation: impl FnMut() -> Attempt + 'static) -> Operation {
    Box::new(operation)
}

/// Times that each is done, so that what is done once, such as growing a list, does not
/// show.
const COUNT: u32 = 200;
/// As often it is done before.
const WARM_UP: u32 = 20;

#[inline(never)]
fn counted(operation: &mut Operation) -> Attempt {
    for _ in 0..COUNT {
        operation()?;
    }
    Ok(())
}

/// A guest that does something at each piece of a response's body, having held the
/// headers, so that it may work on them.
fn at_body(imports: &str, body: &str) -> Result<Operation, Box<dyn Error>> {
    let module = guest::module(&format!(
        r#"{imports}
        (data (i32.const 16) "user-agent")
        (data (i32.const 32) "x-bench")
        (data (i32.const 64) "server")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
          (if {body} (then unreachable))
          (i32.const 0))"#
    ))?;
    let rig = Rig::start(&module, "")?;
    rig.stream.set_response_body(Bytes::from(vec![b'a'; 4096]));
    let stream = rig.create_stream()?;
    rig.vm.on_request_headers(stream, true)?;
    rig.vm.on_response_headers(stream, false)?;
    Ok(operation(move || {
        rig.vm.on_body(stream, Direction::Response, 4096, false)?;
        Ok(())
    }))
}

fn serving(module: &weir_abi::Module) -> Result<Operation, Box<dyn Error>> {
    let rig = Rig::start(module, HELLO_CONFIGURATION)?;
    Ok(operation(move || rig.serve()))
}

/// All operations, by their names.
fn operations() -> Result<Vec<(&'static str, Operation)>, Box<dyn Error>> {
    let hello = guest::built("hello")?.ok_or("the filter hello is needed")?;
    let smallest = guest::module("")?;
    let (idle, unheard) = (Rig::start(&smallest, "")?, Rig::start(&smallest, "")?);
    let unheard_stream = unheard.create_stream()?;
    let headers: HeaderMap = REQUEST.into_iter().collect();
    let mut encoded = vec![0; wire::pairs_size(headers.iter())];
    if !wire::encode_pairs(headers.iter(), &mut encoded) {
        return Err("the buffer for pairs is too small".into());
    }
    let mut out = vec![0; encoded.len()];
    Ok(vec![
        (
            "vm_start",
            operation(move || Rig::start(&smallest, "").map(drop)),
        ),
        (
            "stream_create_and_delete",
            operation(move || {
                let stream = idle.create_stream()?;
                Ok(idle.vm.delete_stream(stream)?)
            }),
        ),
        ("stream_of_text_guest", serving(&guest::module(HEADERS)?)?),
        ("stream_of_hello", serving(&hello)?),
        (
            "callback_not_exported",
            operation(move || {
                unheard.vm.on_request_headers(unheard_stream, false)?;
                Ok(())
            }),
        ),
        (
            "get_header_map_value",
            at_body(
                r#"(import "env" "proxy_get_header_map_value"
                  (func $call (param i32 i32 i32 i32 i32) (result i32)))"#,
                "(call $call (i32.const 2) (i32.const 64) (i32.const 6) (i32.const 4) (i32.const 8))",
            )?,
        ),
        (
            "get_header_map_pairs",
            at_body(
                r#"(import "env" "proxy_get_header_map_pairs"
                  (func $call (param i32 i32 i32) (result i32)))"#,
                "(call $call (i32.const 2) (i32.const 4) (i32.const 8))",
            )?,
        ),
        (
            "replace_header_map_value",
            at_body(
                r#"(import "env" "proxy_replace_header_map_value"
                  (func $call (param i32 i32 i32 i32 i32) (result i32)))"#,
                "(call $call (i32.const 2) (i32.const 32) (i32.const 7) (i32.const 16) (i32.const 10))",
            )?,
        ),
        (
            "get_buffer_bytes",
            at_body(
                r#"(import "env" "proxy_get_buffer_bytes"
                  (func $call (param i32 i32 i32 i32 i32) (result i32)))"#,
                "(call $call (i32.const 1) (i32.const 0) (i32.const 4096) (i32.const 4) (i32.const 8))",
            )?,
        ),
        (
            "pairs_encode_and_decode",
            operation(move || {
                black_box(wire::encode_pairs(black_box(&headers).iter(), &mut out));
                black_box(wire::decode_pairs(black_box(&encoded)).is_some());
                Ok(())
            }),
        ),
    ])
}

fn run() -> Attempt {
    let mut operations = operations()?;
    println!("{COUNT}");
    for (name, operation) in &mut operations {
        for _ in 0..WARM_UP {
            operation()?;
        }
        counted(operation).map_err(|error| format!("{name}: {error}"))?;
        println!("{name}");
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
