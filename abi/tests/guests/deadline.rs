//! Callbacks that take too long, and guests that want too much memory.

use std::rc::Rc;
use std::time::{Duration, Instant};

use weir_abi::{
    ContextId, Deadline, LoadError, Module, PluginConfig, Reason, TimeLimits, Vm, VmConfig,
    VmLimits,
};

use crate::guest::Guest;
use crate::world::{Journal, TestHost, TestStream, plugin};

const LIMIT: Duration = Duration::from_millis(20);

/// How much later a callback may end on a machine that is busy.
const LATENESS: Duration = Duration::from_secs(2);

const KINDS: [Deadline; 2] = [Deadline::Watchdog, Deadline::Counter];

struct Run {
    vm: Vm,
    host: Rc<TestHost>,
    root: ContextId,
    context: ContextId,
}

fn time(limit: Duration) -> TimeLimits {
    TimeLimits {
        callback: limit,
        root_callback: limit,
        stream: None,
    }
}

impl Run {
    fn new(guest: &Guest, deadline: Deadline, time: TimeLimits) -> Self {
        Self::limited(guest, deadline, time, VmLimits::default())
    }

    fn limited(guest: &Guest, deadline: Deadline, time: TimeLimits, limits: VmLimits) -> Self {
        let host = Rc::new(TestHost::default());
        let module = Module::compile_for(&guest.build(), deadline).unwrap();
        let config = VmConfig {
            limits,
            ..VmConfig::default()
        };
        let vm = Vm::new(&module, config, host.clone()).unwrap();
        let plugin = PluginConfig {
            time,
            ..plugin("test")
        };
        let root = vm.start_plugin(plugin).unwrap();
        let stream = Rc::new(TestStream::new(Journal::default()));
        let context = vm.create_stream(root, stream, 0).unwrap();
        Self {
            vm,
            host,
            root,
            context,
        }
    }

    fn fails_with(&self, reason: Reason) {
        let failure = self.vm.failure().unwrap();
        assert_eq!(failure.reason, reason, "{failure}");
    }

    /// Runs `proxy_on_request_headers`, which must be ended for its time, when it
    /// is over and not before.
    fn is_ended(&self, limit: Duration) {
        let began = Instant::now();
        assert!(self.vm.on_request_headers(self.context, true).is_err());
        let took = began.elapsed();
        self.fails_with(Reason::Deadline);
        assert!(took >= limit, "{took:?}");
        assert!(took < limit + LATENESS, "{took:?}");
    }
}

fn on_request(script: &str) -> Guest {
    Guest::new().on("proxy_on_request_headers", script)
}

#[test]
fn whatever_a_guest_does_for_ever_is_ended() {
    let helpers = "
        (global $zero (mut i32) (i32.const 0))
        (table $t 20000 funcref)
        (func $leaf (loop $l (br $l)))
        (func $deep (param i32)
          (if (i32.eqz (local.get 0)) (then (call $leaf))
            (else (call $deep (i32.sub (local.get 0) (i32.const 1))))))
        (func $walk (param i32) (result i32)
          (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
            (else (i32.add (call $walk (i32.sub (local.get 0) (i32.const 1)))
                           (call $walk (i32.sub (local.get 0) (i32.const 1)))))))";
    for (name, script) in [
        ("nothing", "(loop $l (br $l))"),
        (
            "a condition",
            "(loop $l (br_if $l (i32.eqz (global.get $zero))))",
        ),
        (
            "nested loops",
            "(loop $o (global.set $zero (i32.const 0))
               (loop $i (br_if $i (global.get $zero))) (br $o))",
        ),
        (
            "a table of branches",
            "(loop $a (block $b (br_table $a $b $a (global.get $zero))))",
        ),
        (
            "stores",
            "(loop $l (i32.store (i32.const 8) (i32.const 1)) (br $l))",
        ),
        (
            "floats",
            "(loop $l (f64.store (i32.const 8)
               (f64.sqrt (f64.add (f64.load (i32.const 8)) (f64.const 1.5)))) (br $l))",
        ),
        ("a leaf below many", "(call $deep (i32.const 1000))"),
        ("calls", "(drop (call $walk (i32.const 60)))"),
        (
            "hostcalls",
            "(loop $l (drop (call $proxy_log (i32.const 0) (i32.const 0) (i32.const 0))) (br $l))",
        ),
        (
            "small fills",
            "(loop $l (memory.fill (i32.const 131072) (i32.const 1) (i32.const 4096)) (br $l))",
        ),
        (
            "large fills",
            "(drop (memory.grow (i32.const 1000)))
             (loop $l (memory.fill (i32.const 131072) (i32.const 1) (i32.const 64000000)) (br $l))",
        ),
        (
            "large copies",
            "(drop (memory.grow (i32.const 1000)))
             (loop $l (memory.copy (i32.const 131072) (i32.const 131073) (i32.const 64000000))
               (br $l))",
        ),
        (
            "fills of tables",
            "(loop $l (table.fill $t (i32.const 0) (ref.null func) (i32.const 20000)) (br $l))",
        ),
        (
            "growing by nothing",
            "(loop $l (drop (memory.grow (i32.const 0))) (br $l))",
        ),
        (
            "growing a table by nothing",
            "(loop $l (drop (table.grow $t (ref.null func) (i32.const 0))) (br $l))",
        ),
        (
            "growing in vain",
            "(loop $l (drop (memory.grow (i32.const 60000))) (br $l))",
        ),
    ] {
        for deadline in KINDS {
            let guest = on_request(script)
                .memory(r#"(memory (export "memory") 4)"#)
                .text(helpers);
            println!("{name}, {deadline:?}");
            Run::new(&guest, deadline, time(LIMIT)).is_ended(LIMIT);
        }
    }
}

#[test]
fn other_instances_of_the_thread_go_on() {
    for deadline in KINDS {
        let healthy = Run::new(&on_request("args"), deadline, time(LIMIT));
        for _ in 0..3 {
            Run::new(&on_request("(loop $l (br $l))"), deadline, time(LIMIT)).is_ended(LIMIT);
            assert!(healthy.vm.on_request_headers(healthy.context, true).is_ok());
        }
    }
}

#[test]
fn the_backtrace_tells_where_the_guest_was() {
    let helpers = "
        (func $inner (result i32) (local $i i32)
          (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (call $nothing) (br $l)) (local.get $i))
        (func $nothing)
        (func $outer (result i32) (i32.add (call $inner) (i32.const 1)))";
    for deadline in KINDS {
        let guest = on_request("(drop (call $outer))").text(helpers);
        let run = Run::new(&guest, deadline, time(LIMIT));
        run.is_ended(LIMIT);
        let failure = run.vm.failure().unwrap();
        let names: Vec<_> = failure
            .backtrace
            .iter()
            .map(|f| f.function.as_deref())
            .collect();
        assert!(names.contains(&Some("inner")), "{deadline:?}: {failure}");
        assert!(names.contains(&Some("outer")), "{deadline:?}: {failure}");
        assert!(
            failure.to_string().contains("ran for longer than 20ms"),
            "{failure}"
        );
    }
}

#[test]
fn start_functions_and_allocators_are_ended() {
    let start = "(func $s (loop $l (br $l))) (start $s)";
    let initialize = r#"(func (export "_initialize") (loop $l (br $l)))"#;
    for deadline in KINDS {
        for text in [start, initialize] {
            let host = Rc::new(TestHost::default());
            let module = Module::compile_for(&Guest::new().text(text).build(), deadline).unwrap();
            let config = VmConfig {
                limits: VmLimits {
                    start: LIMIT,
                    ..VmLimits::default()
                },
                ..VmConfig::default()
            };
            match Vm::new(&module, config, host) {
                Err(LoadError::Start(failure)) => {
                    assert_eq!(failure.reason, Reason::Deadline, "{failure}");
                }
                other => panic!("{other:?}"),
            }
        }
        let allocator = r#"(func (export "malloc") (param i32) (result i32)
                             (loop $l (br $l)) (i32.const 0))"#;
        let guest = on_request("get_header_map_value 0 ':path'").allocator(allocator);
        Run::new(&guest, deadline, time(LIMIT)).is_ended(LIMIT);
    }
}

#[test]
fn root_callbacks_have_a_limit_of_their_own() {
    for deadline in KINDS {
        let guest = Guest::new().on("proxy_on_tick", "(loop $l (br $l))");
        let limits = TimeLimits {
            callback: Duration::from_millis(1),
            root_callback: LIMIT,
            stream: None,
        };
        let run = Run::new(&guest, deadline, limits);
        let began = Instant::now();
        assert!(run.vm.on_tick(run.root).is_err());
        assert!(began.elapsed() >= LIMIT);
        run.fails_with(Reason::Deadline);
    }
}

/// Spins for about as long as it takes to count to its parameter.
const SPIN: &str = "(func $spin (param $n i32)
    (loop $l (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $l (local.get $n))))";

#[test]
fn a_stream_has_a_budget_for_all_of_its_callbacks() {
    for deadline in KINDS {
        let spin = "(call $spin (i32.const 3000000))";
        let guest = on_request(spin)
            .on("proxy_on_response_headers", spin)
            .text(SPIN);
        let limits = TimeLimits {
            stream: Some(LIMIT),
            ..TimeLimits::default()
        };
        let run = Run::new(&guest, deadline, limits);
        let ended = (0..1000).any(|_| run.vm.on_request_headers(run.context, true).is_err());
        assert!(ended);
        run.fails_with(Reason::Deadline);
    }
}

#[test]
fn without_a_limit_a_callback_may_take_as_long_as_it_likes() {
    for deadline in KINDS {
        let guest = on_request("(call $spin (i32.const 100000000))").text(SPIN);
        let run = Run::new(&guest, deadline, time(Duration::MAX));
        assert!(run.vm.on_request_headers(run.context, true).is_ok());
    }
}

#[test]
fn a_guest_that_gets_no_more_memory_fails_for_that() {
    const MIB: usize = 1 << 20;
    let takes_all = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))";
    for end in ["trap", "(call $proc_exit (i32.const 2))"] {
        let guest = on_request(&format!("{takes_all}\n{end}"))
            .raw_import(
                "wasi_snapshot_preview1",
                "proc_exit",
                "$proc_exit (param i32)",
            )
            .memory(r#"(memory (export "memory") 4)"#);
        let limits = VmLimits {
            memory: 8 * MIB,
            ..VmLimits::default()
        };
        let run = Run::limited(&guest, Deadline::default(), time(LIMIT), limits);
        assert!(run.vm.on_request_headers(run.context, true).is_err());
        run.fails_with(Reason::Memory);
    }
    // One that does without goes on, with no more than it may have.
    let guest = on_request(takes_all).memory(r#"(memory (export "memory") 4)"#);
    let limits = VmLimits {
        memory: 8 * MIB,
        ..VmLimits::default()
    };
    let run = Run::limited(&guest, Deadline::default(), time(LIMIT), limits);
    assert!(run.vm.on_request_headers(run.context, true).is_ok());
    assert!(run.vm.memory_size() > 7 * MIB && run.vm.memory_size() <= 8 * MIB);
    drop(run.host);
}

#[test]
fn a_module_that_begins_with_too_much_memory_is_refused_with_both_figures() {
    let guest = Guest::new().memory(r#"(memory (export "memory") 200)"#);
    let module = Module::compile(&guest.build()).unwrap();
    let config = VmConfig {
        limits: VmLimits {
            memory: 8 << 20,
            ..VmLimits::default()
        },
        ..VmConfig::default()
    };
    let refused = Vm::new(&module, config, Rc::new(TestHost::default()));
    let message = refused.err().map(|e| e.to_string()).unwrap_or_default();
    let expected = "the module begins with 13107200 bytes of memory; it may have 8388608";
    assert_eq!(message, expected);
}

#[test]
fn tables_are_limited() {
    let guest = on_request(
        "(if (i32.ne (table.grow $t (ref.null func) (i32.const 2000000)) (i32.const -1))
           (then unreachable))",
    )
    .text("(table $t 1 funcref)");
    let run = Run::new(&guest, Deadline::default(), time(LIMIT));
    assert!(run.vm.on_request_headers(run.context, true).is_ok());
    let module = Module::compile(&Guest::new().text("(table 3000000 funcref)").build()).unwrap();
    let refused = Vm::new(&module, VmConfig::default(), Rc::new(TestHost::default()));
    let message = refused.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(
        message.contains("a table of 3000000 elements; 1048576 are allowed"),
        "{message}"
    );
}

#[test]
fn deep_recursion_runs_out_of_stack() {
    for deadline in KINDS {
        let guest = on_request("(call $down)").text("(func $down (call $down))");
        let run = Run::new(&guest, deadline, TimeLimits::default());
        assert!(run.vm.on_request_headers(run.context, true).is_err());
        run.fails_with(Reason::Stack);
    }
}
