//! Shared data and queues, between VMs.

use std::sync::Arc;

use weir_abi::{ContextId, DataLimits, Eviction, SharedLimits, SharedState, Space, Vm, VmConfig};

use crate::guest::Guest;
use crate::world::{Rig, TestHost, in_request_headers, plugin, start};

/// A VM with a root context that shares with others what is in `space`.
fn vm_in(space: &Arc<Space>, guest: &Guest) -> (std::rc::Rc<TestHost>, Vm, ContextId) {
    let config = VmConfig {
        shared: Arc::clone(space),
        ..VmConfig::default()
    };
    let (host, vm) = start(guest, config);
    let vm = vm.unwrap();
    let root = vm.start_plugin(plugin("p")).unwrap();
    (host, vm, root)
}

/// Sets `$last` to the word that was handed back third or first.
const KEEP_CAS: &str = "(global.set $last (i32.load (i32.const 24)))";
const KEEP_QUEUE: &str = "(global.set $last (i32.load (i32.const 16)))";

fn guest() -> Guest {
    Guest::new().text("(global $last (mut i32) (i32.const 0))")
}

#[test]
fn a_value_is_read_with_its_number_and_set_by_it_once() {
    let set = "(call $report (call $proxy_set_shared_data (i32.const 512) (i32.const 1)
                 (i32.const 513) (i32.const 1) (global.get $last)) (i32.const 0))";
    let script = format!(
        "get_shared_data 'k'
         set_shared_data 'k' 'v' 0
         get_shared_data 'k'
         {KEEP_CAS}
         {set}
         {set}
         get_shared_data 'k'
         set_shared_data 'new' '' 77
         get_shared_data 'new'"
    );
    let guest = guest()
        .importing("proxy_set_shared_data")
        .text(r#"(data (i32.const 512) "kw")"#)
        .on("proxy_on_request_headers", &script);
    let rig = Rig::new(&guest);
    rig.request_headers();
    let told = rig.told();
    assert_eq!(told[..2], ["1", "0"]);
    assert_eq!(told[3..5], ["0", "8"]);
    assert_eq!(told[6], "0");
}

#[test]
fn data_is_shared_by_space_and_survives_its_vms() {
    let space = Arc::<SharedState>::default().space("v", SharedLimits::default());
    let writer = Guest::new().on("proxy_on_tick", "set_shared_data 'k' 'value' 0");
    let (_, vm, root) = vm_in(&space, &writer);
    vm.on_tick(root).unwrap();
    drop(vm);
    let reader = guest().importing("proxy_get_shared_data").on(
        "proxy_on_tick",
        "(drop (call $proxy_get_shared_data (i32.const 512) (i32.const 1) (i32.const 16)
           (i32.const 20) (i32.const 24)))
         (call $report (i32.const 0) (i32.const 1))",
    );
    let (host, vm, root) = vm_in(&space, &reader.text(r#"(data (i32.const 512) "k")"#));
    vm.on_tick(root).unwrap();
    assert_eq!(host.journal.take(), ["0 value"]);
    let (host, vm) = start(
        &Guest::new().on("proxy_on_tick", "get_shared_data 'k'"),
        VmConfig::default(),
    );
    let vm = vm.unwrap();
    vm.on_tick(vm.start_plugin(plugin("p")).unwrap()).unwrap();
    assert_eq!(host.journal.take(), ["1"]);
}

#[test]
fn what_does_not_fit_is_refused_and_told_of() {
    let data = DataLimits {
        bytes: 3,
        entries: 10,
        eviction: Eviction::None,
    };
    let limits = SharedLimits {
        data,
        ..SharedLimits::default()
    };
    let space = Arc::<SharedState>::default().space("v", limits);
    let script =
        "set_shared_data 'k' 'vv' 0\nset_shared_data 'k' 'vvv' 0\nset_shared_data 'l' '' 0";
    let (host, vm, root) = vm_in(&space, &Guest::new().on("proxy_on_tick", script));
    vm.on_tick(root).unwrap();
    let told = "no room in shared_data";
    let expected = ["0", told, "10", told, "10"];
    assert_eq!(host.journal.take(), expected);
}

#[test]
fn pointers_outside_of_the_memory_are_refused_and_lose_no_item() {
    let out = "(i32.const -4)";
    let ok = "(i32.const 16)";
    let report = |call: &str| format!("(call $report (call {call}) (i32.const 0))\n");
    let queue = "(global.get $last)";
    let script = [
        "set_shared_data -1 5 0 0 0".to_owned(),
        "set_shared_data 0 0 -1 5 0".to_owned(),
        "set_shared_data '' 'v' 0".to_owned(),
        report(&format!(
            "$proxy_get_shared_data (i32.const 0) (i32.const 0) {ok} {ok} (i32.const -1)"
        )),
        report("$proxy_register_shared_queue (i32.const 0) (i32.const 0) (i32.const -1)"),
        "register_shared_queue ''".to_owned(),
        KEEP_QUEUE.to_owned(),
        report(&format!(
            "$proxy_enqueue_shared_queue {queue} (i32.const -1) (i32.const 3)"
        )),
        report(&format!(
            "$proxy_enqueue_shared_queue {queue} (i32.const 0) (i32.const 1)"
        )),
        report(&format!(
            "$proxy_dequeue_shared_queue {queue} {out} (i32.const -1)"
        )),
        report(&format!("$proxy_dequeue_shared_queue {queue} {ok} {ok}")),
        report(&format!("$proxy_dequeue_shared_queue {queue} {ok} {ok}")),
    ];
    let guest = [
        "get_shared_data",
        "register_shared_queue",
        "enqueue_shared_queue",
        "dequeue_shared_queue",
    ]
    .iter()
    .fold(guest(), |guest, name| {
        guest.importing(&format!("proxy_{name}"))
    });
    let rig = Rig::new(&guest.on("proxy_on_request_headers", &script.join("\n")));
    rig.request_headers();
    let told: Vec<_> = rig
        .told()
        .into_iter()
        .filter(|l| l.len() < 3 && !l.starts_with("0 "))
        .collect();
    assert_eq!(told, ["6", "6", "0", "6", "6", "6", "0", "6", "0", "7"]);
}

#[test]
fn whoever_registers_is_told_of_items_after_the_call_and_once_each() {
    let script = format!(
        "register_shared_queue 'q'
         {KEEP_QUEUE}
         (drop (call $proxy_enqueue_shared_queue (global.get $last) (i32.const 0) (i32.const 1)))
         (drop (call $proxy_enqueue_shared_queue (global.get $last) (i32.const 0) (i32.const 1)))"
    );
    let guest = guest()
        .importing("proxy_enqueue_shared_queue")
        .on("proxy_on_request_headers", &script)
        .on("proxy_on_queue_ready", "args");
    let rig = Rig::new(&guest);
    rig.request_headers();
    assert_eq!(rig.told(), [format!("consumer {}", rig.root), "0 1".into()]);
    let told = rig.host.consumer.told();
    assert_eq!(told, [1, 1]);
    for queue in told {
        rig.vm.on_queue_ready(rig.root, queue).unwrap();
    }
    let call = format!("proxy_on_queue_ready({}, 1)", rig.root);
    assert_eq!(rig.told(), [call.clone(), call]);
    // No such root context, and one that is a stream.
    rig.vm.on_queue_ready(ContextId(99), 1).unwrap();
    rig.vm.on_queue_ready(rig.context, 1).unwrap();
    assert!(rig.told().is_empty());
}

#[test]
fn queues_of_other_spaces_are_found_by_their_vm_id() {
    let state = Arc::<SharedState>::default();
    let one = state.space("one", SharedLimits::default());
    let two = state.space("two", SharedLimits::default());
    let owner = Guest::new().on("proxy_on_configure", "register_shared_queue 'q'");
    let (_, _vm, _) = vm_in(&one, &owner);
    let script = "resolve_shared_queue 'one' 'q'
                  resolve_shared_queue 'one' 'r'
                  resolve_shared_queue '' 'q'
                  resolve_shared_queue 'three' 'q'
                  (drop (call $proxy_enqueue_shared_queue (i32.const 1) (i32.const 512) (i32.const 4)))
                  dequeue_shared_queue 1
                  dequeue_shared_queue 1
                  dequeue_shared_queue 2";
    let other = Guest::new()
        .importing("proxy_enqueue_shared_queue")
        .text(r#"(data (i32.const 512) "item")"#)
        .on("proxy_on_tick", script);
    let (host, vm, root) = vm_in(&two, &other);
    vm.on_tick(root).unwrap();
    assert_eq!(
        host.journal.take(),
        ["0 1", "1", "1", "1", "0 item", "7", "1"]
    );
}

#[test]
fn a_vm_that_is_only_tried_consumes_nothing() {
    let told = in_request_headers("register_shared_queue 'q'");
    assert_eq!(told.len(), 2);
    struct Deaf;
    impl weir_abi::Host for Deaf {
        fn log(&self, _: weir_abi::Origin<'_>, _: weir_abi::LogLevel, _: &[u8]) {}
        fn log_level(&self) -> Option<weir_abi::LogLevel> {
            None
        }
        fn failed(
            &self,
            _: weir_abi::Origin<'_>,
            _: &weir_abi::Failure,
            _: Option<&dyn weir_abi::Stream>,
        ) {
        }
    }
    let space = Arc::<SharedState>::default().space("v", SharedLimits::default());
    let registers = Guest::new().on("proxy_on_configure", "register_shared_queue 'q'");
    let (host, _vm, _) = vm_in(&space, &registers);
    let module = weir_abi::Module::compile(&registers.build()).unwrap();
    let config = VmConfig {
        shared: Arc::clone(&space),
        ..VmConfig::default()
    };
    let tried = Vm::new(&module, config, std::rc::Rc::new(Deaf)).unwrap();
    tried.start_plugin(plugin("p")).unwrap();
    let pushes =
        "(drop (call $proxy_enqueue_shared_queue (i32.const 1) (i32.const 0) (i32.const 1)))";
    let sender = Guest::new()
        .importing("proxy_enqueue_shared_queue")
        .on("proxy_on_tick", pushes);
    let (_, sender, root) = vm_in(&space, &sender);
    sender.on_tick(root).unwrap();
    assert_eq!(host.consumer.told(), [1]);
}
