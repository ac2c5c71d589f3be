//! Callouts: HTTP and gRPC requests that guests make themselves.
//!
//! A callout belongs to the root context in whose name it was made. It survives
//! the stream that made it, and is cancelled without a word when its root
//! context or its VM goes. However it ends, the guest hears of the end once.

mod dns;
mod grpc;
mod http;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;

pub use self::dns::{DnsAddress, DnsToken};
pub use self::grpc::{GrpcCall, GrpcStart, GrpcStream};
pub use self::http::{HttpCall, HttpCallResponse};
use crate::body::BodyBuffer;
use crate::headers::HeaderMap;
use crate::limits::CALLOUT_BYTES_MAX;
use crate::plugin::Root;
use crate::types::{ContextId, Status};
use crate::vm_limits::Limit;
use crate::vm_state::VmState;

/// Number of a callout, unique among those that its VM has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CalloutToken(pub u32);

/// Keeps a callout going; dropped, it cancels it.
pub type CalloutGuard = Box<dyn Any>;

/// Why a callout is not made. Nothing follows such an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalloutError {
    /// There is no such cluster.
    UnknownCluster,
    /// What was asked for makes no sense: a gRPC service that cannot be read.
    BadArgument,
    /// It could not be sent.
    NotSent,
    /// This host makes no callouts.
    Unsupported,
}

/// What a callout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http = 0,
    GrpcCall = 1,
    GrpcStream = 2,
}

impl Kind {
    const BITS: u32 = 2;

    /// What the token of a callout says, whether or not there is one.
    fn of(token: u32) -> Option<Self> {
        match token & 3 {
            0 => Some(Self::Http),
            1 => Some(Self::GrpcCall),
            2 => Some(Self::GrpcStream),
            _ => None,
        }
    }
}

/// A callout under way.
enum Open {
    /// An HTTP or unary gRPC call, and the bytes of its request.
    Call(Rc<Root>, #[allow(dead_code)] CalloutGuard, usize),
    Stream(Rc<Root>, OpenStream),
}

struct OpenStream {
    stream: Rc<dyn GrpcStream>,
    /// Bytes of what it began with.
    bytes: usize,
    /// The guest has closed its side.
    local_closed: bool,
    /// `proxy_on_grpc_close` has been called.
    remote_closed: bool,
}

impl Open {
    fn root(&self) -> &Rc<Root> {
        match self {
            Self::Call(root, ..) | Self::Stream(root, _) => root,
        }
    }
}

impl Open {
    fn bytes(&self) -> usize {
        match self {
            Self::Call(_, _, bytes) => *bytes,
            Self::Stream(_, stream) => stream.bytes,
        }
    }

    /// A stream of which the guest will hear nothing more.
    fn is_over(&self) -> bool {
        matches!(self, Self::Stream(_, stream) if stream.remote_closed)
    }
}

/// What the callback of a callout may read.
#[derive(Clone)]
pub(crate) enum Received {
    /// A call came to nothing.
    Nothing,
    Http(Rc<HttpCallResponse>),
    InitialMetadata(Rc<HeaderMap>),
    /// The guest may change it, for itself.
    Message(Rc<RefCell<BodyBuffer>>),
    TrailingMetadata(Rc<HeaderMap>),
    /// What a lookup has found.
    Addresses(Bytes),
}

/// The callouts of one VM.
pub(crate) struct Callouts {
    open: RefCell<FxHashMap<CalloutToken, Open>>,
    /// The number given last, by kind.
    last: [Cell<u32>; 3],
    lookups: RefCell<FxHashMap<DnsToken, (Rc<Root>, CalloutGuard)>>,
    last_lookup: Cell<u32>,
    /// What the callback under way is about.
    received: RefCell<Option<Received>>,
    /// Callouts that the guest call under way has begun.
    begun: Cell<usize>,
    /// Bytes of the requests of all calls under way.
    bytes: Cell<usize>,
}

impl Default for Callouts {
    fn default() -> Self {
        Self {
            open: RefCell::default(),
            last: <[Cell<u32>; 3]>::default(),
            lookups: RefCell::default(),
            // The first lookup is number 2, as in Envoy.
            last_lookup: Cell::new(1),
            received: RefCell::default(),
            begun: Cell::default(),
            bytes: Cell::default(),
        }
    }
}

impl VmState {
    /// Whether a stream that the guest is called for, or that hostcalls act on, drops a
    /// callout.
    pub(crate) fn drops_callout(&self) -> bool {
        let contexts = [self.current(), self.context()];
        let mut contexts = contexts.iter().flatten();
        contexts.any(|cx| cx.stream().is_some_and(|cx| cx.stream.drops_callout()))
    }

    /// Refuses a callout for which there is no room.
    fn admit_callout(&self, bytes: usize) -> Result<(), Status> {
        let room = self.callouts.has_room(bytes, self.config.limits.callouts);
        if room {
            self.touch();
        } else {
            self.limit_reached(Limit::Callouts);
        }
        room.then_some(()).ok_or(Status::InternalFailure)
    }
}

impl Callouts {
    /// Number of callouts under way.
    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len() + self.lookups.borrow().len()
    }

    /// A guest call begins.
    pub(crate) fn enter(&self) {
        self.begun.set(0);
    }

    /// Takes the room for one callout more, whose request has so many bytes, if there
    /// is some. Streams that have ended on the other side make room.
    fn has_room(&self, bytes: usize, max: usize) -> bool {
        let bytes = self.bytes.get().saturating_add(bytes);
        if self.begun.get() >= max || bytes > CALLOUT_BYTES_MAX {
            return false;
        }
        if self.len() >= max {
            self.forget(Open::is_over);
        }
        let room = self.len() < max;
        self.begun.set(self.begun.get() + usize::from(room));
        room
    }

    /// The next free token: numbers count up by kind, which stands in the low
    /// bits, and are not reused while live, also after a wrap.
    fn new_token(&self, kind: Kind) -> CalloutToken {
        let open = self.open.borrow();
        let last = &self.last[kind as usize];
        loop {
            let number = (last.get() + 1) & (u32::MAX >> Kind::BITS);
            last.set(number);
            let token = CalloutToken(number << Kind::BITS | kind as u32);
            if number > 0 && !open.contains_key(&token) {
                return token;
            }
        }
    }

    /// The next free number of a lookup.
    fn new_dns_token(&self) -> DnsToken {
        let lookups = self.lookups.borrow();
        loop {
            let number = self.last_lookup.get().wrapping_add(1);
            self.last_lookup.set(number);
            if number > 0 && !lookups.contains_key(&DnsToken(number)) {
                return DnsToken(number);
            }
        }
    }

    fn insert(&self, token: CalloutToken, open: Open) {
        self.bytes.set(self.bytes.get() + open.bytes());
        self.open.borrow_mut().insert(token, open);
    }

    fn remove(&self, token: CalloutToken) -> Option<Open> {
        let removed = self.open.borrow_mut().remove(&token)?;
        self.bytes.set(self.bytes.get() - removed.bytes());
        Some(removed)
    }

    fn root_of(&self, token: CalloutToken) -> Option<Rc<Root>> {
        self.open
            .borrow()
            .get(&token)
            .map(|open| Rc::clone(open.root()))
    }

    /// Cancels the callouts of a root context.
    pub(crate) fn forget_root(&self, root: ContextId) {
        self.forget(|open| open.root().id == root);
        let lookups: Vec<_> = self
            .lookups
            .borrow_mut()
            .extract_if(|_, (of, _)| of.id == root)
            .collect();
        drop(lookups);
    }

    /// Cancels all callouts that `which` picks.
    fn forget(&self, which: impl Fn(&Open) -> bool) {
        // Dropped when the books are free again: what a guard does is not ours
        // to know.
        let gone: Vec<_> = self
            .open
            .borrow_mut()
            .extract_if(|_, open| which(open))
            .collect();
        let bytes: usize = gone.iter().map(|(_, open)| open.bytes()).sum();
        self.bytes.set(self.bytes.get() - bytes);
    }

    /// Cancels all callouts.
    pub(crate) fn clear(&self) {
        let (open, lookups) = (self.open.take(), self.lookups.take());
        self.bytes.set(0);
        self.received.take();
        drop((open, lookups));
    }

    /// What the callback under way may read, if it is one of a callout.
    pub(crate) fn received(&self) -> Option<Received> {
        self.received.borrow().clone()
    }

    /// Shows `received` to the guest while `callback` runs.
    fn while_showing<R>(&self, received: Received, callback: impl FnOnce() -> R) -> R {
        self.received.replace(Some(received));
        let result = callback();
        self.received.take();
        result
    }
}

/// How the last callout of a root context ended, for `proxy_get_status`.
#[derive(Debug, Default)]
pub(crate) struct CalloutStatus {
    pub(crate) code: Cell<u32>,
    /// There during the callback only.
    pub(crate) message: RefCell<Bytes>,
}

impl CalloutStatus {
    fn set(&self, code: u32, message: Bytes) {
        self.code.set(code);
        self.message.replace(message);
    }

    fn forget_message(&self) {
        self.message.take();
    }
}

/// A timeout in milliseconds as guests give it, signed; 0 is none.
pub(crate) fn timeout(milliseconds: u32) -> Result<Option<Duration>, Status> {
    let milliseconds = u64::try_from(milliseconds.cast_signed());
    let milliseconds = milliseconds.map_err(|_| Status::BadArgument)?;
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}

fn count(map: &HeaderMap) -> u32 {
    u32::try_from(map.len()).unwrap_or(u32::MAX)
}

fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
