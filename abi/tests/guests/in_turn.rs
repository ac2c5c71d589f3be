//! Callbacks that are made in one entry into the engine: as if each had one of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use weir_abi::{
    Callback, ContextId, ContextKind, Deadline, HeadersStatus, Hostcall, Meter, Reason, VmFailed,
};

use crate::guest::Guest;
use crate::signatures::CALLBACKS;
use crate::world::{Rig, TestStream, plugin, start};

const CREATE: &str = "proxy_on_context_create";
const REQUEST: &str = "proxy_on_request_headers";

/// Leaves the callback for the plugin's context, and for that of the rig's own stream.
const NEW_STREAMS: &str = "(if (i32.lt_u (local.get 0) (i32.const 3)) (then (return)))";

/// Does something when the context of a new stream is created.
fn on_stream_create(script: &str) -> Guest {
    Guest::new()
        .on(CREATE, &format!("{NEW_STREAMS}\n{script}"))
        .on(REQUEST, "args")
}

/// A plugin of the guest with a stream that begins.
fn begin(rig: &Rig) -> Result<(ContextId, Option<HeadersStatus>), VmFailed> {
    let stream = Rc::new(TestStream::new(rig.journal.clone()));
    let begun = rig.vm.begin_stream(rig.root, stream, 1, true);
    if let Ok((context, _)) = begun {
        assert_eq!(rig.vm.active_streams(), 2, "{context}");
    }
    begun
}

/// A rig whose own stream has begun quietly.
fn rig(guest: &Guest) -> Rig {
    let rig = Rig::new(guest);
    rig.told();
    rig
}

#[test]
fn a_stream_begins_with_its_context_and_its_headers() {
    let callbacks = CALLBACKS
        .iter()
        .filter(|(n, ..)| n.starts_with("proxy_on_"));
    let telling = callbacks.fold(Guest::new(), |guest, (name, ..)| guest.on(name, "args"));
    let rig = rig(&telling);
    let (context, status) = begin(&rig).unwrap();
    assert_eq!((context.0, status), (3, Some(HeadersStatus::Continue)));
    rig.vm.log_and_delete_stream(context).unwrap();
    assert_eq!(
        rig.told(),
        [
            "proxy_on_context_create(3, 1)",
            "proxy_on_request_headers(3, 8, 1)",
            "proxy_on_log(3)",
            "proxy_on_done(3)",
            "proxy_on_delete(3)",
        ]
    );
    assert_eq!(rig.vm.active_streams(), 1);
    assert_eq!(rig.vm.completed_streams(), 1);
    assert_eq!(rig.vm.delete_stream(context), Err(VmFailed));
}

#[test]
fn each_callback_sees_what_it_would_see_alone() {
    let get = "get_header_map_value 0 ':path'";
    let guest = Guest::new()
        .on(CREATE, &format!("{NEW_STREAMS}\n{get}"))
        .on(REQUEST, &format!("{get}\n(return (i32.const 1))"))
        .on("proxy_on_log", get)
        .on("proxy_on_done", get)
        .on("proxy_on_delete", get);
    let rig = rig(&guest);
    let (context, status) = begin(&rig).unwrap();
    assert_eq!(status, Some(HeadersStatus::StopAllAndWatermark));
    rig.vm.log_and_delete_stream(context).unwrap();
    assert_eq!(
        rig.told(),
        ["2", "0 /shop?q=1#top", "0 /shop?q=1#top", "2", "2"]
    );
}

#[test]
fn what_a_guest_asks_for_is_done_before_the_next_callback() {
    for (script, told) in [
        ("continue_stream 0", "1 continues Request"),
        ("close_stream 0", "1 closes"),
    ] {
        let rig = rig(&on_stream_create(script));
        let (context, status) = begin(&rig).unwrap();
        assert_eq!(status, None);
        assert_eq!(rig.told(), ["0", told]);
        rig.vm.on_request_headers(context, true).unwrap();
        assert_eq!(rig.told(), ["proxy_on_request_headers(3, 8, 1)"]);
    }
}

#[test]
fn another_context_is_chosen_for_one_callback() {
    let guest = on_stream_create("set_effective_context 1")
        .on("proxy_on_log", "set_effective_context 1")
        .on("proxy_on_done", "get_property 'plugin_name'")
        .on("proxy_on_delete", "args");
    let rig = rig(&guest);
    let (context, status) = begin(&rig).unwrap();
    assert_eq!(status, None);
    rig.vm.on_request_headers(context, true).unwrap();
    rig.vm.log_and_delete_stream(context).unwrap();
    assert_eq!(
        rig.told(),
        [
            "0",
            "proxy_on_request_headers(3, 8, 1)",
            "0",
            "0 test",
            "proxy_on_delete(3)",
        ]
    );
}

#[test]
fn a_trap_is_that_of_the_callback_in_which_it_was() {
    let in_headers = Guest::new().on(CREATE, "").on(REQUEST, "trap");
    for (callback, guest) in [(CREATE, on_stream_create("trap")), (REQUEST, in_headers)] {
        let rig = rig(&guest);
        assert_eq!(begin(&rig), Err(VmFailed));
        let failure = rig.vm.failure().unwrap();
        assert_eq!(failure.callback, callback);
        assert_eq!(failure.context, ContextId(3));
        assert_eq!(failure.reason, Reason::Trap);
        assert_eq!(rig.told(), [format!("failed: {callback} of test")]);
    }
    for callback in ["proxy_on_log", "proxy_on_done", "proxy_on_delete"] {
        let rig = rig(&Guest::new().on(callback, "trap"));
        assert_eq!(rig.vm.log_and_delete_stream(rig.context), Err(VmFailed));
        assert_eq!(rig.vm.failure().unwrap().callback, callback);
        assert_eq!(rig.told(), [format!("failed: {callback} of test")]);
        assert_eq!(rig.vm.completed_streams(), 0);
    }
}

#[test]
fn last_words_are_those_of_the_callback_that_fails() {
    let words = "(drop (call $proxy_log (i32.const 4) (i32.const 0) (i32.const 4)))";
    for (log, done, said) in [(words, "trap", false), ("args", words, true)] {
        let guest = Guest::new()
            .on("proxy_on_log", log)
            .on("proxy_on_done", &format!("{done}\ntrap"));
        let rig = rig(&guest);
        assert!(rig.vm.log_and_delete_stream(rig.context).is_err());
        let failure = rig.vm.failure().unwrap();
        assert_eq!(failure.callback, "proxy_on_done");
        assert_eq!(failure.last_words.is_some(), said);
    }
}

#[test]
fn a_callback_that_takes_too_long_is_ended_also_behind_others() {
    const LIMIT: Duration = Duration::from_millis(20);
    for deadline in [Deadline::Watchdog, Deadline::Counter] {
        let guest = Guest::new()
            .on("proxy_on_log", "args")
            .on("proxy_on_delete", "(loop $l (br $l))");
        let rig = Rig::limited(&guest, deadline, LIMIT);
        assert!(rig.vm.log_and_delete_stream(rig.context).is_err());
        let failure = rig.vm.failure().unwrap();
        assert_eq!(failure.reason, Reason::Deadline, "{failure}");
        assert_eq!(failure.callback, "proxy_on_delete");
    }
}

#[test]
fn each_callback_has_the_whole_time() {
    let guest = Guest::new()
        .on("proxy_on_log", "args")
        .on("proxy_on_done", "args")
        .on("proxy_on_delete", "args");
    let rig = Rig::limited(&guest, Deadline::default(), Duration::from_secs(1));
    // It is the host that is busy, within the callbacks.
    rig.host.is_busy.set(Duration::from_millis(600));
    rig.vm.log_and_delete_stream(rig.context).unwrap();
    assert_eq!(rig.told().len(), 3);
}

/// Notes what it is told.
#[derive(Default)]
struct Notes(RefCell<Vec<String>>);

impl Meter for Notes {
    fn now(&self) -> u64 {
        self.0.borrow_mut().push("begins".into());
        1
    }

    fn called(&self, callback: Callback, began: u64) -> u64 {
        self.0
            .borrow_mut()
            .push(format!("{callback} since {began}"));
        began + 1
    }

    fn hostcalls(&self, hostcall: Hostcall, count: u64) {
        self.0.borrow_mut().push(format!("{count} {hostcall}"));
    }

    fn context_created(&self, _: ContextKind) {}

    fn context_deleted(&self, _: ContextKind) {}

    fn local_response(&self) {}
}

#[test]
fn each_callback_is_measured_from_the_end_of_the_one_before() {
    let guest = Guest::new()
        .on("proxy_on_log", "args")
        .on("proxy_on_done", "args")
        .on("proxy_on_delete", "args");
    let (host, vm) = start(&guest, weir_abi::VmConfig::default());
    let vm = vm.unwrap();
    let notes = Rc::new(Notes::default());
    host.meter.replace(Some(notes.clone()));
    let root = vm.start_plugin(plugin("test")).unwrap();
    let stream = Rc::new(TestStream::new(host.journal.clone()));
    let context = vm.create_stream(root, stream, 0).unwrap();
    notes.0.take();
    vm.log_and_delete_stream(context).unwrap();
    assert_eq!(
        notes.0.take(),
        [
            "begins",
            "proxy_on_log since 1",
            "proxy_on_done since 2",
            "proxy_on_delete since 3",
            "3 proxy_log",
        ]
    );
}
