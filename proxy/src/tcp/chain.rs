//! The filters of a connection, without its sockets.
//!
//! [`FilterChain`] takes in what comes from either side, passes it through the
//! filters and keeps what has passed until the sockets take it. The rules are
//! those of Envoy's filter manager:
//!
//! - the client's bytes pass the filters in order. All filters share one buffer:
//!   what a filter holds by a pause comes, together with what has arrived since,
//!   to the first filter again, and by `continue_stream` to the next one;
//! - a filter is reached when all before it have let the connection through; when
//!   all have, the endpoint is connected to, and only then the client is read from;
//! - the upstream's bytes pass the filters in reverse. What a filter holds of them
//!   goes on with the next bytes only;
//! - a filter that closes the connection closes both.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use weir_abi::{BodyBuffer, ContextId, FilterIndex, NetworkStatus, PeerType, Side, Vm, VmFailed};

use super::view::ConnectionView;
use crate::filter::Admission;
use crate::rollout::Link;
use crate::stream::{FilteredStream, count};

/// Something that a filter has asked for, or that has happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// What has come from the client goes on behind the filter at this place.
    Continue(usize),
    /// The connection is to be closed.
    Close,
    /// The context of the filter at this place is gone.
    ContextGone(usize),
}

/// How a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Filters have not all let it through.
    Held,
    /// An endpoint is wanted, or connected to.
    Through,
    /// It ends when what has passed to the client has gone out.
    Closing,
    /// The filters have been told of its end.
    Closed,
}

/// Whether a filter takes part in a connection.
enum Presence {
    /// It has not been reached. It would run in this VM.
    NotYet(Rc<Vm>, ContextId),
    /// Its VM had failed, and its policy refuses connections.
    Refuses,
    /// It has a context.
    Live(Rc<Vm>, ContextId),
    /// Its VM has failed meanwhile, or the connection is over.
    Gone,
}

struct Slot {
    /// Its place among the filters of its listener.
    place: usize,
    presence: RefCell<Presence>,
    /// It has answered what it was shown last of the client's bytes with a pause.
    pauses: Cell<bool>,
}

/// One direction's bytes.
#[derive(Default)]
pub(super) struct Flow {
    /// What has come and not passed all filters.
    pub(super) arrived: RefCell<BodyBuffer>,
    /// The end has come.
    ended: Cell<bool>,
    /// What has passed them, and waits for its socket.
    passed: RefCell<BodyBuffer>,
    /// The end has passed them.
    end_passed: Cell<bool>,
}

impl Flow {
    /// Bytes that have come and not passed all filters.
    pub(super) fn held_bytes(&self) -> usize {
        self.arrived.borrow().len()
    }

    /// Bytes that wait for their socket.
    pub(super) fn queued_bytes(&self) -> usize {
        self.passed.borrow().len()
    }

    /// The bytes that wait for their socket, to be taken from.
    pub(super) fn queue(&self) -> std::cell::RefMut<'_, BodyBuffer> {
        self.passed.borrow_mut()
    }

    /// Whether the end follows what waits for its socket.
    pub(super) fn ends(&self) -> bool {
        self.end_passed.get()
    }

    fn arrive(&self, data: Bytes, end: bool) {
        self.arrived.borrow_mut().push(data);
        if end {
            self.ended.set(true);
        }
    }

    fn pass(&self, end: bool) -> usize {
        let data = self.arrived.take();
        let bytes = data.len();
        self.passed.borrow_mut().append(data);
        if end {
            self.end_passed.set(true);
        }
        bytes
    }
}

/// One connection on its way through its filters.
pub(super) struct FilterChain {
    pub(super) record: Rc<FilteredStream>,
    slots: Vec<Slot>,
    /// In front of how many places the connection has passed what stands there.
    gates: Cell<usize>,
    /// How many places there are.
    places: usize,
    pub(super) downstream: Flow,
    pub(super) upstream: Flow,
    state: Cell<State>,
    events: RefCell<VecDeque<Event>>,
    waiting: RefCell<Option<Waker>>,
    /// A filter has had a buffer in its hands, and may have made room in it.
    touched: Cell<bool>,
}

impl FilterChain {
    /// The filters that a new connection meets. What is known of the connection
    /// is in `record`.
    pub(super) fn new(record: Rc<FilteredStream>, chain: &[Link]) -> Rc<Self> {
        let places = chain.len();
        let admitted = |(place, link): (usize, &Link)| {
            let presence = match link.plugin.admit() {
                Admission::Run(vm, root) => Presence::NotYet(vm, root),
                Admission::Refuse => Presence::Refuses,
                Admission::PassBy => return None,
            };
            Some(Slot {
                place,
                presence: RefCell::new(presence),
                pauses: Cell::new(false),
            })
        };
        Rc::new(Self {
            record,
            slots: chain.iter().enumerate().filter_map(admitted).collect(),
            gates: Cell::new(0),
            places,
            downstream: Flow::default(),
            upstream: Flow::default(),
            state: Cell::new(State::Held),
            events: RefCell::default(),
            waiting: RefCell::default(),
            touched: Cell::new(false),
        })
    }

    /// Whether all filters have let the connection through.
    pub(super) fn is_through(&self) -> bool {
        self.state.get() == State::Through
    }

    /// Whether the connection ends when what has passed to the client is out.
    pub(super) fn is_closing(&self) -> bool {
        self.state.get() == State::Closing
    }

    fn is_open(&self) -> bool {
        matches!(self.state.get(), State::Held | State::Through)
    }

    /// The connection is there: tells the filters, as far as they let it through.
    pub(super) fn open(self: &Rc<Self>) {
        self.read_from(0);
        self.handle_events();
    }

    /// Bytes, or the end, have come from the client.
    pub(super) fn downstream_data(self: &Rc<Self>, data: Bytes, end: bool) {
        if !self.is_open() {
            return;
        }
        count(&self.record.info.bytes_received, data.len());
        self.downstream.arrive(data, end);
        self.read_from(0);
        self.handle_events();
    }

    /// Bytes, or the end, have come from the upstream.
    pub(super) fn upstream_data(self: &Rc<Self>, data: Bytes, end: bool) {
        if !self.is_open() {
            return;
        }
        self.upstream.arrive(data, end);
        self.write(end);
        self.handle_events();
    }

    /// The connection ends when what has passed to the client is out.
    pub(super) fn close(&self) {
        if self.is_open() {
            self.state.set(State::Closing);
            self.downstream.arrived.take();
            self.upstream.arrived.take();
        }
    }

    /// The client's connection is closed, by `peer`: tells each filter, and ends
    /// its context. Has no effect a second time.
    ///
    /// Contexts and chain hold each other, so a chain must not go without this.
    pub(super) fn closed(&self, peer: PeerType) {
        if self.state.replace(State::Closed) == State::Closed {
            return;
        }
        for slot in &self.slots {
            if let Presence::Live(vm, context) = slot.presence.replace(Presence::Gone) {
                // Failures are reported by the VM's host; the connection is over.
                let _ = vm
                    .on_connection_close(context, Side::Downstream, peer)
                    .and_then(|()| vm.delete_connection(context));
            }
        }
        self.events.borrow_mut().clear();
    }

    /// Brings what has come from the client to the filter at `from` and on.
    fn read_from(self: &Rc<Self>, from: usize) {
        for index in from..self.slots.len() {
            let slot = &self.slots[index];
            if !self.pass_gates(slot.place) {
                return;
            }
            if matches!(
                *slot.presence.borrow(),
                Presence::NotYet(..) | Presence::Refuses
            ) && !self.reach(index)
            {
                return;
            }
            let size = self.downstream.held_bytes();
            let end = self.downstream.ended.get();
            if size == 0 && !end {
                continue;
            }
            let Some((vm, context)) = self.live(index) else {
                self.close();
                return;
            };
            let status = vm.on_data(context, Side::Downstream, size, end);
            if !self.goes_on(index, status) {
                return;
            }
        }
        if !self.pass_gates(self.places) {
            return;
        }
        self.state.set(State::Through);
        let end = self.downstream.ended.get();
        if self.downstream.held_bytes() > 0 || end {
            self.downstream.pass(end);
        }
    }

    /// Passes what stands up to the filter at `place`, each once; whether the connection
    /// goes on.
    fn pass_gates(&self, place: usize) -> bool {
        while self.gates.get() <= place {
            let next = self.gates.get();
            self.gates.set(next + 1);
            if !self.record.pass_connection_gates(next) {
                self.close();
                return false;
            }
        }
        true
    }

    /// The connection reaches the filter at `index`; whether it goes on behind it.
    fn reach(self: &Rc<Self>, index: usize) -> bool {
        let slot = &self.slots[index];
        let Presence::NotYet(vm, root) = slot.presence.replace(Presence::Gone) else {
            self.close();
            return false;
        };
        let view = Rc::new(ConnectionView {
            chain: Rc::clone(self),
            index,
        });
        let filter = FilterIndex::try_from(index).unwrap_or(FilterIndex::MAX);
        let Ok(context) = vm.create_connection(root, view, filter) else {
            self.close();
            return false;
        };
        let live = Presence::Live(Rc::clone(&vm), context);
        slot.presence.replace(live);
        if self.diverted() {
            return false;
        }
        let status = vm.on_new_connection(context);
        self.goes_on(index, status)
    }

    /// What a callback for what came from the client comes to. A filter that
    /// pauses and continues in one callback goes on.
    fn goes_on(self: &Rc<Self>, index: usize, status: Result<NetworkStatus, VmFailed>) -> bool {
        let Ok(status) = status else {
            self.fail(index);
            return false;
        };
        if self.diverted() {
            return false;
        }
        let goes_on = self.take_continue(index) || status == NetworkStatus::Continue;
        self.slots[index].pauses.set(!goes_on);
        goes_on
    }

    /// Brings what has come from the upstream to the filters, the last one first.
    fn write(self: &Rc<Self>, end: bool) {
        for index in (0..self.slots.len()).rev() {
            let Some((vm, context)) = self.live(index) else {
                self.close();
                return;
            };
            let size = self.upstream.held_bytes();
            let status = vm.on_data(context, Side::Upstream, size, end);
            if status.is_err() {
                self.fail(index);
                return;
            }
            if self.diverted() {
                return;
            }
            if end {
                let closed = vm.on_connection_close(context, Side::Upstream, PeerType::Unknown);
                if closed.is_err() {
                    self.fail(index);
                }
                if self.diverted() || closed.is_err() {
                    return;
                }
            }
            if status != Ok(NetworkStatus::Continue) {
                return;
            }
        }
        let bytes = self.upstream.pass(end);
        count(&self.record.info.bytes_sent, bytes);
    }

    fn live(&self, index: usize) -> Option<(Rc<Vm>, ContextId)> {
        match &*self.slots[index].presence.borrow() {
            Presence::Live(vm, context) => Some((Rc::clone(vm), *context)),
            _ => None,
        }
    }

    /// The VM of the filter at `index` has failed: the connection ends, whatever
    /// its policy says of later ones.
    fn fail(&self, index: usize) {
        self.slots[index].presence.replace(Presence::Gone);
        self.close();
    }

    pub(super) fn push(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.wake();
    }

    /// Has whoever waits for the connection look at it again.
    fn wake(&self) {
        if let Some(waiting) = &*self.waiting.borrow() {
            waiting.wake_by_ref();
        }
    }

    /// A filter gets a buffer into its hands.
    pub(super) fn touch(&self) {
        self.touched.set(true);
        self.wake();
    }

    /// Waits until an event is queued, or there may be room.
    pub(super) fn poll_events(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.touched.take() || !self.events.borrow().is_empty() {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Handles what is queued by now. What that leads to waits for the next call,
    /// so that filters which wake each other for ever keep nobody else waiting.
    pub(super) fn handle_events(self: &Rc<Self>) {
        let events = self.events.take();
        for event in events {
            match event {
                _ if !self.is_open() => {}
                Event::Continue(index) => {
                    self.slots[index].pauses.set(false);
                    self.read_from(index + 1);
                }
                Event::Close => self.close(),
                Event::ContextGone(index) => self.context_gone(index),
            }
        }
    }

    /// The VM of the filter at `index` has failed between callbacks. If it holds
    /// the connection, nobody is left to let it go, so that ends now; else at the
    /// filter's next callback.
    fn context_gone(&self, index: usize) {
        let slot = &self.slots[index];
        if slot.pauses.get() {
            self.fail(index);
        }
    }

    /// Whether the callback that has just returned closes the connection.
    fn diverted(&self) -> bool {
        let closes = self.events.borrow().contains(&Event::Close);
        if closes {
            self.close();
        }
        !self.is_open()
    }

    /// Whether the filter at `index` has continued in the callback that has just
    /// returned. The continue is taken from the queue: it must not end a later
    /// pause.
    fn take_continue(&self, index: usize) -> bool {
        let mut events = self.events.borrow_mut();
        let before = events.len();
        events.retain(|event| *event != Event::Continue(index));
        events.len() != before
    }
}
