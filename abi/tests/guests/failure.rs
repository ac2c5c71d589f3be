//! How a VM fails, and what is left of it.

use std::rc::Rc;

use weir_abi::{
    ContextId, Direction, Module, PluginConfig, PluginError, Reason, Vm, VmConfig, VmFailed,
};

use crate::guest::Guest;
use crate::world::{Rig, TestHost, TestStream, plugin};

/// Runs a callback of a rig by name.
fn run(rig: &Rig, callback: &str) -> Result<(), VmFailed> {
    let (vm, id) = (&rig.vm, rig.context);
    match callback {
        "proxy_on_tick" => vm.on_tick(rig.root),
        "proxy_on_request_headers" => vm.on_request_headers(id, false).map(drop),
        "proxy_on_response_headers" => vm.on_response_headers(id, false).map(drop),
        "proxy_on_request_body" => vm.on_body(id, Direction::Request, 0, true).map(drop),
        "proxy_on_response_body" => vm.on_body(id, Direction::Response, 0, true).map(drop),
        "proxy_on_request_trailers" => vm.on_trailers(id, Direction::Request).map(drop),
        "proxy_on_response_trailers" => vm.on_trailers(id, Direction::Response).map(drop),
        "proxy_on_log" => vm.on_log(id),
        "proxy_on_done" | "proxy_on_delete" => vm.delete_stream(id),
        _ => unreachable!("{callback}"),
    }
}

const CALLBACKS: [&str; 10] = [
    "proxy_on_tick",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_log",
    "proxy_on_done",
    "proxy_on_delete",
];

#[test]
fn a_trap_in_any_callback_fails_the_vm_once_and_for_all() {
    for callback in CALLBACKS {
        let rig = Rig::new(&Guest::new().on(callback, "trap"));
        assert_eq!(run(&rig, callback), Err(VmFailed), "{callback}");

        let failure = rig.vm.failure().unwrap().clone();
        assert_eq!(failure.reason, Reason::Trap);
        assert_eq!(failure.callback, callback);
        let context = if callback == "proxy_on_tick" { 1 } else { 2 };
        assert_eq!(failure.context, ContextId(context));
        assert_eq!(failure.message, "unreachable");
        assert_eq!(rig.told(), [format!("failed: {callback} of test")]);

        for later in CALLBACKS {
            assert_eq!(run(&rig, later), Err(VmFailed), "{later}");
        }
        assert_eq!(rig.vm.stop_plugin(rig.root), Err(VmFailed));
        let started = rig.vm.start_plugin(PluginConfig::default());
        assert_eq!(started, Err(PluginError::Failed));
        let stream = rig.stream.clone();
        assert!(rig.vm.create_stream(rig.root, stream, 0).is_err());
        assert_eq!(*rig.host.failures.borrow(), [failure]);
    }
}

#[test]
fn a_failed_vm_holds_neither_streams_nor_memory() {
    let guest = Guest::new().on("proxy_on_response_headers", "trap");
    let rig = Rig::new(&guest);
    let (other, _) = rig.another_stream();
    assert_eq!(rig.vm.active_streams(), 2);
    assert_eq!(rig.vm.memory_size(), 4 * 65_536);
    assert_eq!(Rc::strong_count(&other), 2);

    assert!(run(&rig, "proxy_on_response_headers").is_err());
    assert_eq!(rig.vm.active_streams(), 0);
    assert_eq!(rig.vm.memory_size(), 0);
    assert_eq!(Rc::strong_count(&other), 1);
    assert_eq!(Rc::strong_count(&rig.stream), 1);
}

#[test]
fn a_vm_that_is_dropped_lets_go_of_its_host_and_streams() {
    for callback in ["proxy_on_request_headers", "proxy_on_response_headers"] {
        let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", "trap"));
        let failed = run(&rig, callback).is_err();
        assert_eq!(failed, callback == "proxy_on_request_headers");
        let Rig {
            vm, host, stream, ..
        } = rig;
        drop(vm);
        assert_eq!(Rc::strong_count(&host), 1);
        assert_eq!(Rc::strong_count(&stream), 1);
    }
}

/// Something in the proxy that knows the VM and looks at it as it goes away.
struct Nosy {
    vm: Rc<Vm>,
    inner: TestStream,
    seen: Rc<std::cell::Cell<usize>>,
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.seen.set(self.vm.active_streams() + 1);
    }
}

impl weir_abi::Stream for Nosy {
    fn headers(
        &self,
        map: weir_abi::HttpMap,
    ) -> Option<std::cell::RefMut<'_, weir_abi::HeaderMap>> {
        self.inner.headers(map)
    }
    fn add_trailers(&self, direction: Direction) -> bool {
        self.inner.add_trailers(direction)
    }
    fn body(
        &self,
        filter: u32,
        direction: Direction,
    ) -> Option<std::cell::RefMut<'_, weir_abi::BodyBuffer>> {
        self.inner.body(filter, direction)
    }
    fn property(&self, path: &[&[u8]]) -> Result<weir_abi::Property, weir_abi::PropertyError> {
        self.inner.property(path)
    }
    fn set_property(
        &self,
        path: &[u8],
        value: bytes::Bytes,
    ) -> Result<(), weir_abi::PropertiesFull> {
        self.inner.set_property(path, value)
    }
    fn continue_stream(&self, filter: u32, direction: Direction) {
        self.inner.continue_stream(filter, direction);
    }
    fn close_stream(&self, filter: u32) {
        self.inner.close_stream(filter);
    }
    fn send_local_response(&self, filter: u32, response: weir_abi::LocalResponse) {
        self.inner.send_local_response(filter, response);
    }
}

#[test]
fn a_stream_may_look_at_the_vm_when_it_is_dropped() {
    for discarded in [false, true] {
        let module = Module::compile(&Guest::new().build()).unwrap();
        let host = Rc::new(TestHost::default());
        let vm = Rc::new(Vm::new(&module, VmConfig::default(), host.clone()).unwrap());
        let root = vm.start_plugin(plugin("p")).unwrap();
        let seen = Rc::new(std::cell::Cell::new(0));
        let stream = Rc::new(Nosy {
            vm: vm.clone(),
            inner: TestStream::new(host.journal.clone()),
            seen: seen.clone(),
        });
        let id = vm.create_stream(root, stream, 0).unwrap();
        if discarded {
            vm.discard();
        } else {
            vm.delete_stream(id).unwrap();
        }
        assert_eq!(seen.get(), 1);
    }
}

#[test]
fn other_instances_of_the_module_live_on() {
    let guest = Guest::new().on("proxy_on_request_headers", "trap");
    let (dead, alive) = (Rig::new(&guest), Rig::new(&guest));
    assert!(run(&dead, "proxy_on_request_headers").is_err());
    assert!(run(&alive, "proxy_on_response_headers").is_ok());
}

#[test]
fn a_guest_that_recurses_for_ever_has_no_stack() {
    let guest = Guest::new()
        .text("(func $deeper (param i64) (call $deeper (local.get 0)))")
        .on("proxy_on_request_headers", "(call $deeper (i64.const 1))");
    let rig = Rig::new(&guest);
    assert!(run(&rig, "proxy_on_request_headers").is_err());
    assert_eq!(rig.vm.failure().unwrap().reason, Reason::Stack);
    assert!(rig.vm.failure().unwrap().backtrace.len() <= 32);
}

#[test]
fn an_exit_in_a_callback_is_a_failure_with_its_code() {
    for code in [0, 3] {
        let script = format!("(call $exit (i32.const {code}))\nlog 2 'after'");
        let guest = Guest::new()
            .raw_import("wasi_snapshot_preview1", "proc_exit", "$exit (param i32)")
            .on("proxy_on_request_headers", &script);
        let rig = Rig::new(&guest);
        assert!(run(&rig, "proxy_on_request_headers").is_err());
        let failure = rig.vm.failure().unwrap();
        assert_eq!(failure.reason, Reason::Exit(code));
        assert_eq!(
            failure.message,
            format!("the guest called proc_exit({code})")
        );
        assert_eq!(rig.told(), ["failed: proxy_on_request_headers of test"]);
    }
}

#[test]
fn every_kind_of_trap_is_a_failure() {
    for (text, message) in [
        (
            "(drop (i32.load (i32.const -1)))",
            "out of bounds memory access",
        ),
        (
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            "integer divide by zero",
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            "invalid conversion to integer",
        ),
        ("(call_indirect $t (i32.const 1))", "undefined element"),
    ] {
        let guest = Guest::new()
            .text("(table $t 1 funcref)")
            .on("proxy_on_request_headers", text);
        let rig = Rig::new(&guest);
        assert!(run(&rig, "proxy_on_request_headers").is_err());
        let failure = rig.vm.failure().unwrap();
        assert_eq!(failure.reason, Reason::Trap, "{text}");
        assert!(failure.message.contains(message), "{}", failure.message);
    }
}

#[test]
fn the_backtrace_names_the_guests_functions_innermost_first() {
    let guest = Guest::new()
        .text("(func $inner unreachable) (func $outer (call $inner))")
        .on("proxy_on_request_headers", "(call $outer)");
    let rig = Rig::new(&guest);
    assert!(run(&rig, "proxy_on_request_headers").is_err());
    let failure = rig.vm.failure().unwrap();
    let names: Vec<_> = failure
        .backtrace
        .iter()
        .map(|f| f.function.clone())
        .collect();
    assert_eq!(names.len(), 3);
    assert_eq!(
        names[..2],
        [Some("inner".to_owned()), Some("outer".to_owned())]
    );
    let text = failure.to_string();
    assert!(
        text.starts_with("proxy_on_request_headers failed (trap): unreachable\n    inner at 0x"),
        "{text}"
    );
}

#[test]
fn a_backtrace_has_a_limit() {
    let guest = Guest::new()
        .text(
            "(func $down (param i32)
               (if (i32.eqz (local.get 0)) (then unreachable))
               (call $down (i32.sub (local.get 0) (i32.const 1))))",
        )
        .on("proxy_on_request_headers", "(call $down (i32.const 100))");
    let rig = Rig::new(&guest);
    assert!(run(&rig, "proxy_on_request_headers").is_err());
    assert_eq!(rig.vm.failure().unwrap().backtrace.len(), 32);
}

#[test]
fn a_host_that_panics_in_a_hostcall_fails_the_vm_and_not_the_thread() {
    let guest = Guest::new().on("proxy_on_request_headers", "log 2 'x'");
    let rig = Rig::new(&guest);
    rig.host.panics.set(true);
    assert!(run(&rig, "proxy_on_request_headers").is_err());
    assert_eq!(rig.vm.failure().unwrap().reason, Reason::Host);
    assert_eq!(rig.host.failures.borrow().len(), 1);
    rig.host.panics.set(false);
    assert!(run(&Rig::new(&guest), "proxy_on_request_headers").is_ok());
}

#[test]
fn a_discarded_vm_takes_no_calls_and_has_not_failed() {
    let rig = Rig::new(&Guest::new().on("proxy_on_delete", "args"));
    rig.vm.discard();
    assert_eq!(rig.vm.memory_size(), 0);
    assert_eq!(rig.vm.active_streams(), 0);
    assert_eq!(Rc::strong_count(&rig.stream), 1);
    for callback in CALLBACKS {
        assert_eq!(run(&rig, callback), Err(VmFailed), "{callback}");
    }
    assert!(rig.vm.failure().is_none());
    assert!(rig.told().is_empty());
}
