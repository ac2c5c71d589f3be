//! [`Tcp`]: a TCP connection and the one behind it, as they pass one filter.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, Connection, ContextId, FilterIndex, NetworkStatus, PeerType, PropertiesFull,
    Property, PropertyError, Refused, Side, Vm, VmFailed,
};

use super::view::{Properties, dotted_path};

/// One side as the filter sees it.
#[derive(Default)]
struct Half {
    held: RefCell<BodyBuffer>,
    paused: Cell<bool>,
}

#[derive(Default)]
struct View {
    downstream: Half,
    upstream: Half,
    properties: Properties,
    set: RefCell<std::collections::BTreeMap<String, Bytes>>,
    continued: Cell<bool>,
    closed: Cell<bool>,
}

impl View {
    fn half(&self, side: Side) -> &Half {
        match side {
            Side::Downstream => &self.downstream,
            Side::Upstream => &self.upstream,
        }
    }
}

impl Connection for View {
    fn data(&self, _filter: FilterIndex, side: Side) -> Option<RefMut<'_, BodyBuffer>> {
        Some(self.half(side).held.borrow_mut())
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        let segments = path.iter().map(|segment| String::from_utf8_lossy(segment));
        let dotted = segments.collect::<Vec<_>>().join(".");
        let own = self.set.borrow().get(&dotted).cloned();
        own.map_or_else(|| self.properties.get(path), |own| Ok(own.into()))
    }

    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull> {
        self.set.borrow_mut().insert(dotted_path(path), value);
        Ok(())
    }

    fn set_filter_state(&self, key: &[u8], value: Bytes) -> Result<(), Refused> {
        let key = String::from_utf8_lossy(key).into_owned();
        self.set.borrow_mut().insert(key, value);
        Ok(())
    }

    fn continue_reading(&self, _filter: FilterIndex) {
        self.continued.set(true);
    }

    fn close(&self, _filter: FilterIndex) {
        self.closed.set(true);
    }
}

/// A connection and its filter.
pub(crate) struct Tcp {
    vm: Rc<Vm>,
    context: Option<ContextId>,
    view: Rc<View>,
    /// In `proxy_on_new_connection` the filter has paused.
    held: Cell<bool>,
    over: Cell<bool>,
    failed: Cell<bool>,
    /// What has passed the filter, by side.
    passed: [RefCell<Vec<u8>>; 2],
}

impl Tcp {
    pub(super) fn open(vm: &Rc<Vm>, root: ContextId, properties: Properties) -> Rc<Self> {
        let view = Rc::new(View {
            properties,
            ..View::default()
        });
        let context = vm.create_connection(root, Rc::clone(&view) as _, 0).ok();
        let tcp = Rc::new(Self {
            vm: Rc::clone(vm),
            context,
            view,
            held: Cell::new(false),
            over: Cell::new(false),
            failed: Cell::new(context.is_none()),
            passed: <[RefCell<Vec<u8>>; 2]>::default(),
        });
        if let Some(context) = context {
            match tcp.vm.on_new_connection(context) {
                Ok(status) => tcp.held.set(status == NetworkStatus::Stop),
                Err(VmFailed) => tcp.fail(),
            }
            tcp.settle();
        }
        tcp
    }

    fn passed(&self, side: Side) -> &RefCell<Vec<u8>> {
        &self.passed[side as usize]
    }

    /// What has come from `side` and passed the filter since this was asked last.
    pub(crate) fn take_passed(&self, side: Side) -> Vec<u8> {
        self.passed(side).take()
    }

    /// Whether the filter holds the connection or what has come on it.
    pub(crate) fn is_held(&self) -> bool {
        let paused = self.view.downstream.paused.get() || self.view.upstream.paused.get();
        !self.over.get() && (self.held.get() || paused)
    }

    /// Whether the filter has closed the connection, or its VM has failed.
    pub(crate) fn is_closed(&self) -> bool {
        self.view.closed.get() || self.failed.get()
    }

    /// A property that the filter has set.
    pub(crate) fn set_property(&self, path: &str) -> Option<Bytes> {
        self.view.set.borrow().get(path).cloned()
    }

    /// Bytes have come from `side`.
    pub(crate) fn data(&self, side: Side, data: Bytes, end: bool) {
        let Some(context) = self.context.filter(|_| !self.is_closed()) else {
            return;
        };
        let half = self.view.half(side);
        half.held.borrow_mut().push(data);
        let size = half.held.borrow().len();
        match self.vm.on_data(context, side, size, end) {
            Ok(NetworkStatus::Continue) => self.pass(side),
            Ok(NetworkStatus::Stop) => half.paused.set(true),
            Err(VmFailed) => self.fail(),
        }
        self.settle();
    }

    fn pass(&self, side: Side) {
        if self.is_closed() {
            return;
        }
        let half = self.view.half(side);
        half.paused.set(false);
        let held = half.held.take();
        let mut passed = self.passed(side).borrow_mut();
        held.chunks()
            .for_each(|chunk| passed.extend_from_slice(chunk));
    }

    /// Carries out what the filter has asked for between callbacks.
    pub(super) fn settle(&self) {
        if self.view.continued.take() && !self.is_closed() {
            self.held.set(false);
            if self.view.downstream.paused.get() {
                self.pass(Side::Downstream);
            }
        }
        if self.view.closed.get() {
            self.close(Side::Downstream, PeerType::Local);
        }
    }

    /// One side has closed.
    pub(crate) fn close(&self, side: Side, peer: PeerType) {
        if side == Side::Downstream && self.over.replace(true) {
            return;
        }
        if let Some(context) = self.context
            && self.vm.on_connection_close(context, side, peer).is_err()
        {
            self.fail();
        }
    }

    fn fail(&self) {
        self.failed.set(true);
        self.over.set(true);
    }

    /// The connection is over, by the client unless it has ended already.
    pub(crate) fn end(&self) {
        self.close(Side::Downstream, PeerType::Remote);
        if let Some(context) = self.context {
            // One that has failed has nothing to end.
            let _ = self.vm.delete_connection(context);
        }
    }
}
