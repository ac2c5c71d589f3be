//! VMs that are made what they were.

use std::rc::Rc;

use weir_abi::{ContextId, Vm, VmConfig};

use crate::guest::Guest;
use crate::headers::pairs;
use crate::world::{Journal, TestHost, TestStream, plugin, start};

struct Run {
    host: Rc<TestHost>,
    vm: Vm,
    root: ContextId,
}

impl Run {
    fn new(guest: &Guest) -> Self {
        let (host, vm) = start(guest, VmConfig::default());
        let vm = vm.unwrap();
        let root = vm.start_plugin(plugin("test")).unwrap();
        Self { host, vm, root }
    }

    /// What the guest tells in a stream that lives for `proxy_on_request_headers`.
    fn stream(&self) -> Vec<String> {
        self.host.journal.take();
        let stream = Rc::new(TestStream::new(Journal::default()));
        let id = self.vm.create_stream(self.root, stream, 0).unwrap();
        self.vm.on_request_headers(id, true).unwrap();
        self.vm.delete_stream(id).unwrap();
        self.host.journal.take()
    }
}

/// Counts streams in memory and in a global, and tells both and its size.
const COUNTS: &str = "
    (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 4096)) (i32.const 1)))
    (global.set $streams (i32.add (global.get $streams) (i32.const 1)))
    (drop (memory.grow (i32.const 2)))
    (i32.store (i32.const 4100) (global.get $streams))
    (i32.store (i32.const 4104) (memory.size))
    (call $report (i32.load (i32.const 4096)) (i32.const 0))
    (call $report (i32.load (i32.const 4100)) (i32.const 0))
    (call $report (i32.load (i32.const 4104)) (i32.const 0))";

fn counting() -> Guest {
    Guest::new()
        .text("(global $streams (mut i32) (i32.const 0))")
        .on("proxy_on_vm_start", "(global.set $streams (i32.const 5))")
        .on("proxy_on_request_headers", COUNTS)
}

#[test]
fn a_vm_that_is_restored_has_forgotten_its_streams() {
    let run = Run::new(&counting());
    assert!(!run.vm.restore(), "it was not kept");
    assert!(run.vm.keep());
    let first = run.stream();
    assert_eq!(first, ["1", "6", "6"]);
    assert_eq!(run.stream(), ["2", "7", "8"]);
    let size = run.vm.memory_size();
    for _ in 0..1000 {
        assert!(run.vm.restore());
        assert!(run.vm.memory_size() < size);
        assert_eq!(run.stream(), first);
    }
}

#[test]
fn what_grew_and_went_is_out_of_bounds_again() {
    let reaches = "(if (i32.eq (memory.size) (i32.const 4)) (then
          (drop (memory.grow (i32.const 4)))
          (i32.store (i32.const 500000) (i32.const 1)))
        (else unreachable))";
    let beyond = "(i32.store (i32.const 500000) (i32.const 1))";
    let guest = Guest::new()
        .on("proxy_on_request_headers", reaches)
        .on("proxy_on_tick", beyond);
    let run = Run::new(&guest);
    assert!(run.vm.keep());
    run.stream();
    assert!(run.vm.restore());
    run.stream();
    assert!(run.vm.restore());
    assert!(run.vm.on_tick(run.root).is_err());
}

#[test]
fn callouts_and_metrics_of_streams_are_forgotten() {
    let headers = pairs(&[(":method", "GET"), (":path", "/"), ("host", "a")]);
    let script = format!(
        "define_metric 0 'of a stream'\nset_tick_period_milliseconds 1\n\
         http_call 'up' '{headers}' 0 0 0 0 0"
    );
    let guest = Guest::new()
        .on(
            "proxy_on_configure",
            "define_metric 0 'of the plugin'\nreturn 1",
        )
        .on("proxy_on_request_headers", &script);
    let run = Run::new(&guest);
    assert!(run.vm.keep());
    let mut first = run.stream();
    // Tokens are not given again.
    assert_eq!(
        first.split_off(first.len() - 2),
        ["call up GET None: 4", "0 4"]
    );
    assert_eq!(run.vm.active_callouts(), 1);
    assert!(run.vm.restore());
    assert_eq!(run.host.journal.take(), ["let go of 4"]);
    assert_eq!(run.vm.active_callouts(), 0);
    let mut second = run.stream();
    assert_eq!(
        second.split_off(second.len() - 2),
        ["call up GET None: 8", "0 8"]
    );
    assert_eq!(second, first);
}

#[test]
fn what_is_not_kept_is_a_reason_not_to_keep_a_vm() {
    for (text, script) in [
        (
            "(table $t 4 funcref)",
            "(table.set $t (i32.const 0) (ref.null func))",
        ),
        (
            "(table $t 4 funcref)",
            "(drop (table.grow $t (ref.null func) (i32.const 1)))",
        ),
        (r#"(data $d "abc")"#, "(data.drop $d)"),
        (
            "(memory $other 1)",
            "(i32.store $other (i32.const 0) (i32.const 1))",
        ),
    ] {
        let guest = Guest::new()
            .text(text)
            .on("proxy_on_request_headers", script);
        assert!(!Run::new(&guest).vm.keep(), "{script}");
    }
}

#[test]
fn a_vm_with_streams_or_a_failure_is_not_restored() {
    let guest = Guest::new().on("proxy_on_request_headers", "trap");
    let run = Run::new(&guest);
    assert!(run.vm.keep());
    let stream = Rc::new(TestStream::new(Journal::default()));
    let id = run.vm.create_stream(run.root, stream, 0).unwrap();
    assert!(!run.vm.restore());
    assert!(run.vm.on_request_headers(id, true).is_err());
    assert!(!run.vm.restore());
}
