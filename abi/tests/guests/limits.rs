//! What a guest can make the host keep, when it asks without end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use weir_abi::limits::{BODY_BYTES_MAX, CALLOUTS_MAX, MAP_BYTES_MAX, MAP_ENTRIES_MAX};
use weir_abi::{
    CalloutError, CalloutGuard, CalloutToken, ContextId, Direction, Failure, GrpcCall, GrpcStart,
    GrpcStream, Host, HttpMap, LogLevel, Module, Origin, PluginConfig, Stream, TimeLimits, Vm,
    VmConfig,
};

use crate::world::{Journal, TestStream, plugin};

/// A guest that in `proxy_on_request_headers` makes `call` so many times, up to
/// the first status other than 0.
fn repeating(imports: &str, times: usize, call: &str) -> Vec<u8> {
    repeating_in("proxy_on_request_headers", imports, times, call)
}

fn repeating_in(callback: &str, imports: &str, times: usize, call: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          {imports}
          (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
          (memory (export "memory") 80)
          (data (i32.const 1024) "web")
          ;; :method, :path and :authority, each with the value `a`.
          (data (i32.const 2048) "\03\00\00\00\07\00\00\00\01\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00:method\00a\00:path\00a\00:authority\00a\00")
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "malloc") (param i32) (result i32) (i32.const 0))
          (func (export "{callback}") (param i32 i32 i32) (result i32)
            (local $i i32) (local $status i32)
            (loop $again
              (local.set $status {call})
              (if (i32.eqz (local.get $status)) (then
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const {times}))))))
            ;; How many went well, and the status of the one that did not.
            (i32.store (i32.const 16) (local.get $i))
            (i32.store (i32.const 20) (local.get $status))
            (drop (call $log (i32.const 2) (i32.const 16) (i32.const 8)))
            (i32.const 0)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// A host that makes every callout and lets none end.
#[derive(Default)]
struct Patient {
    /// Successful calls of the last callback, and the status after them.
    told: Cell<(u32, u32)>,
    tokens: RefCell<Vec<CalloutToken>>,
}

struct Silent;

impl GrpcStream for Silent {
    fn send(&self, _: bytes::Bytes, _: bool) -> Result<(), CalloutError> {
        Ok(())
    }
    fn close(&self) {}
}

impl Host for Patient {
    fn log(&self, _: Origin<'_>, _: LogLevel, message: &[u8]) {
        let word = |i: usize| u32::from_le_bytes(message[i..i + 4].try_into().unwrap());
        self.told.set((word(0), word(4)));
    }
    fn log_level(&self) -> Option<LogLevel> {
        None
    }
    fn failed(&self, _: Origin<'_>, failure: &Failure, _: Option<&dyn Stream>) {
        panic!("{failure}");
    }
    fn http_call(
        &self,
        token: CalloutToken,
        _: weir_abi::HttpCall,
    ) -> Result<CalloutGuard, CalloutError> {
        self.tokens.borrow_mut().push(token);
        Ok(Box::new(()))
    }
    fn grpc_call(&self, token: CalloutToken, _: GrpcCall) -> Result<CalloutGuard, CalloutError> {
        self.tokens.borrow_mut().push(token);
        Ok(Box::new(()))
    }
    fn grpc_stream(
        &self,
        token: CalloutToken,
        _: GrpcStart,
    ) -> Result<Rc<dyn GrpcStream>, CalloutError> {
        self.tokens.borrow_mut().push(token);
        Ok(Rc::new(Silent))
    }
}

struct Run {
    host: Rc<Patient>,
    vm: Vm,
    root: ContextId,
    journal: Journal,
    stream: Rc<TestStream>,
}

impl Run {
    fn new(module: &[u8]) -> Self {
        let host = Rc::<Patient>::default();
        let module = Module::compile(module).unwrap();
        let vm = Vm::new(&module, VmConfig::default(), host.clone()).unwrap();
        // What it does without end takes its time.
        let plugin = PluginConfig {
            time: TimeLimits {
                callback: Duration::MAX,
                ..TimeLimits::default()
            },
            ..plugin("p")
        };
        let root = vm.start_plugin(plugin).unwrap();
        let journal = Journal::default();
        let stream = Rc::new(TestStream::new(journal.clone()));
        Self {
            host,
            vm,
            root,
            journal,
            stream,
        }
    }

    /// Calls of one callback that went well, and the status after them.
    fn callback(&self) -> (u32, u32) {
        let id = self.vm.create_stream(self.root, self.stream.clone(), 0);
        let id = id.unwrap();
        self.vm.on_request_headers(id, false).unwrap();
        self.host.told.get()
    }
}

const INTERNAL_FAILURE: u32 = 10;

fn hostcall(name: &str, parameters: usize) -> String {
    let parameters = " i32".repeat(parameters);
    format!("(import \"env\" \"{name}\" (func $call (param{parameters}) (result i32)))")
}

#[test]
fn a_stream_is_continued_once_however_often_the_guest_says_so() {
    let call = "(call $call (i32.const 0))";
    let run = Run::new(&repeating(
        &hostcall("proxy_continue_stream", 1),
        1_000_000,
        call,
    ));
    assert_eq!(run.callback(), (1_000_000, 0));
    assert_eq!(run.journal.take(), ["0 continues Request"]);
    // What has been done does not stand in the way of the next time.
    run.callback();
    assert_eq!(run.journal.take(), ["0 continues Request"]);
}

#[test]
fn of_many_answers_the_first_and_the_last_are_kept() {
    let call = "(call $call (i32.add (i32.const 200) (local.get $i)) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 4096) (i32.const 0) (i32.const 0) (i32.const -1))";
    let run = Run::new(&repeating(
        &hostcall("proxy_send_local_response", 8),
        10_000,
        call,
    ));
    assert_eq!(run.callback(), (10_000, 0));
    let told = run.journal.take();
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("0 answers 200 "));
    assert!(told[1].starts_with("0 answers 10199 "));
}

const CALL: &str = "(call $call (i32.const 1024) (i32.const 3) (i32.const 2048) (i32.const 59)
  (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 24))";

#[test]
fn callouts_under_way_are_counted() {
    let run = Run::new(&repeating(
        &hostcall("proxy_http_call", 10),
        1_000_000,
        CALL,
    ));
    let max = u32::try_from(CALLOUTS_MAX).unwrap();
    assert_eq!(run.callback(), (max, INTERNAL_FAILURE));
    assert_eq!(run.vm.active_callouts(), CALLOUTS_MAX);
    assert_eq!(run.callback(), (0, INTERNAL_FAILURE));
    // One that ends makes room for another.
    let token = run.host.tokens.borrow()[0];
    run.vm.on_http_call_response(token, None).unwrap();
    assert_eq!(run.callback(), (1, INTERNAL_FAILURE));
}

#[test]
fn callouts_are_counted_also_when_they_are_cancelled_at_once() {
    let imports = format!(
        "{}\n(import \"env\" \"proxy_grpc_cancel\" (func $cancel (param i32) (result i32)))",
        hostcall("proxy_grpc_call", 12)
    );
    let call = "(if (result i32)
      (call $call (i32.const 1024) (i32.const 3) (i32.const 1024) (i32.const 3) (i32.const 1024)
        (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 24))
      (then (i32.const 10))
      (else (call $cancel (i32.load (i32.const 24)))))";
    let run = Run::new(&repeating(&imports, 1_000_000, call));
    let max = u32::try_from(CALLOUTS_MAX).unwrap();
    assert_eq!(run.callback(), (max, INTERNAL_FAILURE));
    assert_eq!(run.vm.active_callouts(), 0);
    // The next callback begins anew.
    assert_eq!(run.callback(), (max, INTERNAL_FAILURE));
}

#[test]
fn streams_that_have_ended_make_room() {
    let call = "(call $call (i32.const 1024) (i32.const 3) (i32.const 1024) (i32.const 3)
      (i32.const 1024) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 24))";
    let run = Run::new(&repeating(
        &hostcall("proxy_grpc_stream", 9),
        1_000_000,
        call,
    ));
    let max = u32::try_from(CALLOUTS_MAX).unwrap();
    assert_eq!(run.callback(), (max, INTERNAL_FAILURE));
    for token in run.host.tokens.take().iter().take(5) {
        run.vm
            .on_grpc_close(*token, 0, bytes::Bytes::new())
            .unwrap();
    }
    assert_eq!(run.vm.active_callouts(), CALLOUTS_MAX);
    assert_eq!(run.callback(), (5, INTERNAL_FAILURE));
}

#[test]
fn the_bytes_of_calls_under_way_are_counted() {
    // A body of 4 MiB.
    let call = CALL.replacen(
        "(i32.const 0) (i32.const 0)",
        "(i32.const 0) (i32.const 0x400000)",
        1,
    );
    let run = Run::new(&repeating(&hostcall("proxy_http_call", 10), 1000, &call));
    assert_eq!(run.callback(), (15, INTERNAL_FAILURE));
    for token in run.host.tokens.take() {
        run.vm.on_http_call_response(token, None).unwrap();
    }
    assert_eq!(run.callback(), (15, INTERNAL_FAILURE));
}

#[test]
fn a_header_map_grows_up_to_its_limits() {
    for (length, entries) in [(1, MAP_ENTRIES_MAX - 8), (65_536, MAP_BYTES_MAX / 65_537)] {
        let call = format!(
            "(call $call (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 65536)
              (i32.const {length}))"
        );
        let run = Run::new(&repeating(
            &hostcall("proxy_add_header_map_value", 5),
            1_000_000,
            &call,
        ));
        let (added, status) = run.callback();
        assert_eq!(status, INTERNAL_FAILURE);
        assert_eq!(added as usize, entries);
        let map = run.stream.headers(HttpMap::RequestHeaders).unwrap();
        assert!(map.byte_size() <= MAP_BYTES_MAX);
    }
}

#[test]
fn a_body_grows_up_to_its_limit() {
    let call = "(call $call (i32.const 0) (i32.const 0xfffffff) (i32.const 0) (i32.const 65536)
      (i32.const 0x400000))";
    let imports = hostcall("proxy_set_buffer_bytes", 5);
    // The same in the callback that can see a body.
    let run = Run::new(&repeating_in("proxy_on_request_body", &imports, 1000, call));
    run.stream.set_body(Direction::Request, "");
    let id = run
        .vm
        .create_stream(run.root, run.stream.clone(), 0)
        .unwrap();
    run.vm.on_body(id, Direction::Request, 0, false).unwrap();
    let (added, status) = run.host.told.get();
    assert_eq!((added, status), (64, INTERNAL_FAILURE));
    let body = run.stream.body(0, Direction::Request).unwrap();
    assert_eq!(body.len(), BODY_BYTES_MAX);
}

#[test]
fn a_property_path_of_very_many_segments_is_no_property() {
    let call = "(call $call (i32.const 65536) (i32.const 0x400000) (i32.const 16) (i32.const 20))";
    let run = Run::new(&repeating(&hostcall("proxy_get_property", 4), 1, call));
    assert_eq!(run.callback(), (0, 1));
}

#[test]
fn a_metric_of_a_very_long_name_is_refused() {
    let call = "(call $call (i32.const 0) (i32.const 65536) (i32.const 4097) (i32.const 24))";
    let run = Run::new(&repeating(&hostcall("proxy_define_metric", 4), 1, call));
    assert_eq!(run.callback(), (0, 2));
}
