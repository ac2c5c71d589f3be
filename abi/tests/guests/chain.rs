//! Callbacks of several filters in one entry into the engine: as if each had one of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use weir_abi::{
    Callback, ContextId, ContextKind, Deadline, Hostcall, Meter, Module, PluginConfig, Reason, Vm,
    VmConfig, delete_streams, log_streams,
};

use crate::guest::Guest;
use crate::world::{TestHost, TestStream, plugin};

const LOG: &str = "proxy_on_log";
const DONE: &str = "proxy_on_done";
const DELETE: &str = "proxy_on_delete";

/// Tells whose it is.
const NAME: &str = "get_property 'plugin_name'";
const LOOP: &str = "(loop $l (br $l))";

/// Filters with a VM each, and a stream that all of them have a context of.
struct Chain {
    host: Rc<TestHost>,
    contexts: Vec<(Rc<Vm>, ContextId)>,
}

impl Chain {
    /// Of the filters "0", "1" and so on.
    fn new(guests: &[Guest]) -> Self {
        let mut chain = Self::default();
        guests.iter().for_each(|guest| chain.add(guest));
        chain
    }

    fn default() -> Self {
        Self {
            host: Rc::default(),
            contexts: Vec::new(),
        }
    }

    fn add(&mut self, guest: &Guest) {
        self.add_limited(guest, Deadline::default(), Duration::from_secs(10));
    }

    fn add_limited(&mut self, guest: &Guest, deadline: Deadline, limit: Duration) {
        let module = Module::compile_for(&guest.build(), deadline).unwrap();
        let vm = Vm::new(&module, VmConfig::default(), self.host.clone()).unwrap();
        let mut plugin: PluginConfig = plugin(&self.contexts.len().to_string());
        plugin.time.callback = limit;
        let root = vm.start_plugin(plugin).unwrap();
        let stream = Rc::new(TestStream::new(self.host.journal.clone()));
        let context = vm.create_stream(root, stream, 0).unwrap();
        self.contexts.push((Rc::new(vm), context));
        self.told();
    }

    fn told(&self) -> Vec<String> {
        self.host.journal.take()
    }

    /// What the log and the end of the stream tell.
    fn ended(&self) -> [Vec<String>; 2] {
        log_streams(&self.contexts);
        let log = self.told();
        delete_streams(&self.contexts);
        [log, self.told()]
    }

    /// Of each filter, how many streams are alive and how many have come to their end.
    fn streams(&self) -> Vec<(usize, u64)> {
        let vms = self.contexts.iter().map(|(vm, _)| vm);
        vms.map(|vm| (vm.active_streams(), vm.completed_streams()))
            .collect()
    }
}

fn guest(log: &str, done: &str, delete: &str) -> Guest {
    Guest::new().on(LOG, log).on(DONE, done).on(DELETE, delete)
}

fn quiet() -> Guest {
    guest(NAME, NAME, NAME)
}

#[test]
fn each_filter_logs_and_is_ended_in_its_turn() {
    let chain = Chain::new(&[quiet(), quiet(), quiet()]);
    let [log, end] = chain.ended();
    assert_eq!(log, ["0 0", "0 1", "0 2"]);
    assert_eq!(end, ["0 0", "0 0", "0 1", "0 1", "0 2", "0 2"]);
    assert_eq!(chain.streams(), [(0, 1); 3]);
    // They are gone.
    assert_eq!(chain.ended(), [const { Vec::<String>::new() }; 2]);
}

#[test]
fn only_the_log_shows_the_stream() {
    let get = "get_header_map_value 0 ':path'";
    let chain = Chain::new(&[guest(get, get, get), guest(get, get, get)]);
    let [log, end] = chain.ended();
    assert_eq!(log, ["0 /shop?q=1#top"; 2]);
    assert_eq!(end, ["2"; 4]);
}

#[test]
fn filters_without_some_of_the_callbacks_are_ended_too() {
    let only_log = Guest::new().on(LOG, NAME);
    let only_delete = Guest::new().on(DELETE, NAME);
    let chain = Chain::new(&[quiet(), Guest::new(), only_log, only_delete, quiet()]);
    let [log, end] = chain.ended();
    assert_eq!(log, ["0 0", "0 2", "0 4"]);
    assert_eq!(end, ["0 0", "0 0", "0 3", "0 4", "0 4"]);
    assert_eq!(chain.streams(), [(0, 1); 5]);
}

#[test]
fn two_filters_of_one_vm_have_their_turns() {
    let mut chain = Chain::new(&[guest("args", "args", "args"), quiet()]);
    let (vm, _) = &chain.contexts[0];
    let root = ContextId(1);
    let stream = Rc::new(TestStream::new(chain.host.journal.clone()));
    let second = vm.create_stream(root, stream, 1).unwrap();
    let vm = Rc::clone(vm);
    chain.contexts.insert(1, (vm, second));
    chain.told();
    let [log, end] = chain.ended();
    assert_eq!(log, ["proxy_on_log(2)", "proxy_on_log(3)", "0 1"]);
    let of_both = ["proxy_on_done(2)", "proxy_on_delete(2)", "proxy_on_done(3)"];
    assert_eq!(end[..3], of_both);
    assert_eq!(end[3..], ["proxy_on_delete(3)", "0 1", "0 1"]);
    assert_eq!(chain.contexts[0].0.completed_streams(), 2);
}

#[test]
fn a_trap_ends_its_own_filter_alone() {
    for (place, trapping) in [
        guest("trap", NAME, NAME),
        guest(NAME, "trap", NAME),
        guest(NAME, NAME, "trap"),
    ]
    .into_iter()
    .enumerate()
    {
        for at in 0..3 {
            let mut guests = [quiet(), quiet(), quiet()];
            guests[at] = Guest::new();
            let mut chain = Chain::default();
            for (number, guest) in guests.iter().enumerate() {
                chain.add(if number == at { &trapping } else { guest });
            }
            let told = chain.ended().concat();
            let callback = [LOG, DONE, DELETE][place];
            let failure = chain.contexts[at].0.failure().unwrap();
            assert_eq!((failure.callback, failure.reason), (callback, Reason::Trap));
            assert_eq!(failure.context, ContextId(2));
            let failed = format!("failed: {callback} of {at}");
            assert_eq!(told.iter().filter(|line| **line == failed).count(), 1);
            for (number, (vm, _)) in chain.contexts.iter().enumerate() {
                let expected = if number == at { place } else { 3 };
                let name = format!("0 {number}");
                assert_eq!(told.iter().filter(|l| **l == name).count(), expected);
                assert_eq!(vm.active_streams(), 0);
                assert_eq!(vm.completed_streams(), u64::from(number != at));
                assert_eq!(vm.failure().is_some(), number == at);
            }
        }
    }
}

#[test]
fn what_a_guest_leaves_behind_is_dealt_with_before_the_next_filter() {
    // Last words, and another context, concern the callback that has them alone.
    let error = "(drop (call $proxy_log (i32.const 4) (i32.const 0) (i32.const 4)))";
    let leaves = format!("{error}\nset_effective_context 1");
    let mut chain = Chain::new(&[quiet(), guest(&leaves, &leaves, NAME), quiet()]);
    chain.add(&guest(NAME, "trap", ""));
    let [log, end] = chain.ended();
    let lines = |told: &[String]| {
        let told = told.iter().filter(|line| !line.starts_with("Error"));
        told.cloned().collect::<Vec<_>>()
    };
    assert_eq!(lines(&log), ["0 0", "0", "0 2", "0 3"]);
    let ended = ["0 0", "0 0", "0", "0 1", "0 2", "0 2"];
    assert_eq!(lines(&end)[..6], ended);
    assert_eq!(lines(&end)[6..], ["failed: proxy_on_done of 3"]);
    assert!(chain.host.failures.borrow()[0].last_words.is_none());
}

#[test]
fn a_filter_that_takes_too_long_is_ended_behind_others() {
    const LIMIT: Duration = Duration::from_millis(20);
    for deadline in [Deadline::Watchdog, Deadline::Counter] {
        for looping in [guest(LOOP, NAME, NAME), guest(NAME, NAME, LOOP)] {
            let mut chain = Chain::new(&[quiet()]);
            chain.add_limited(&looping, deadline, LIMIT);
            chain.add(&quiet());
            chain.ended();
            let failure = chain.contexts[1].0.failure().unwrap();
            assert_eq!(failure.reason, Reason::Deadline, "{failure}");
            assert!(failure.message.contains("20ms"), "{failure}");
            let completed: Vec<_> = chain.streams().into_iter().map(|(_, n)| n).collect();
            assert_eq!(completed, [1, 0, 1]);
        }
    }
}

#[test]
fn each_filter_has_the_whole_time_that_it_may_take() {
    let mut chain = Chain::default();
    for limit in [1000, 1000, 1500].map(Duration::from_millis) {
        chain.add_limited(&quiet(), Deadline::default(), limit);
    }
    // It is the host that is busy, within the callbacks.
    chain.host.is_busy.set(Duration::from_millis(600));
    log_streams(&chain.contexts);
    assert_eq!(chain.told().len(), 3);
}

#[test]
fn a_host_that_panics_fails_the_vm_that_has_called_it() {
    let silent = || guest("", "", "");
    let chain = Chain::new(&[silent(), silent(), quiet(), silent()]);
    chain.host.panics.set(true);
    log_streams(&chain.contexts);
    chain.host.panics.set(false);
    delete_streams(&chain.contexts);
    let failed = chain.contexts.iter().map(|(vm, _)| vm.failure().is_some());
    assert_eq!(
        failed.collect::<Vec<_>>(),
        [false, false, true, false],
        "{:?}",
        chain.told()
    );
}

/// Notes what it is told of one filter.
struct Notes {
    name: usize,
    all: Rc<RefCell<Vec<String>>>,
}

impl Notes {
    fn note(&self, what: &str) {
        self.all.borrow_mut().push(format!("{}: {what}", self.name));
    }
}

impl Meter for Notes {
    fn now(&self) -> u64 {
        self.note("begins");
        10 * self.name as u64
    }

    fn called(&self, callback: Callback, began: u64) -> u64 {
        self.note(&format!("{callback} since {began}"));
        began + 1
    }

    fn hostcalls(&self, hostcall: Hostcall, count: u64) {
        self.note(&format!("{count} {hostcall}"));
    }

    fn context_created(&self, _: ContextKind) {}

    fn context_deleted(&self, _: ContextKind) {}

    fn local_response(&self) {}
}

#[test]
fn each_filter_is_measured_by_itself() {
    let all = Rc::new(RefCell::new(Vec::new()));
    let mut chain = Chain::default();
    for name in [1, 2] {
        let all = Rc::clone(&all);
        let notes = Rc::new(Notes { name, all });
        chain.host.meter.replace(Some(notes));
        chain.add(&guest("args", "", "args"));
    }
    all.take();
    chain.ended();
    assert_eq!(
        all.take(),
        [
            "1: begins",
            "1: proxy_on_log since 10",
            "1: 1 proxy_log",
            "2: begins",
            "2: proxy_on_log since 20",
            "2: 1 proxy_log",
            "1: begins",
            "1: proxy_on_done since 10",
            "1: proxy_on_delete since 11",
            "1: 1 proxy_log",
            "2: begins",
            "2: proxy_on_done since 20",
            "2: proxy_on_delete since 21",
            "2: 1 proxy_log",
        ]
    );
}
