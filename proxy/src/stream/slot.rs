//! One filter's place in a stream's chain.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use weir_abi::{BodyBuffer, ContextId, Direction, HeaderMap, Vm};

use super::StreamInfo;
use super::shadow::Shadow;
use crate::filter::{Admission, Plugin};
use crate::rollout::{Chosen, Link, Versions};

/// How far a filter lets one direction run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Iteration {
    /// Everything passes.
    Running,
    /// Headers are held; body and trailers are still shown to the filter.
    HoldHeaders,
    /// Everything is held and nothing shown.
    HoldAll(Overflow),
    /// Body is held; the next chunk is shown together with it, or alone.
    HoldBody(Overflow),
    /// Trailers are held.
    HoldTrailers,
}

/// What happens when more is held than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overflow {
    /// The stream fails.
    Fail,
    /// The sender is slowed down.
    PushBack,
}

/// How much of a direction has arrived at a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Arrived {
    Nothing,
    /// Headers, perhaps body; more will follow.
    Partly,
    /// The end of the stream, without trailers.
    End,
    /// Trailers, which are the end.
    Trailers,
}

/// One direction at one filter.
pub(super) struct SlotDirection {
    pub(super) iteration: Cell<Iteration>,
    /// Body that has arrived here and has not been passed on.
    pub(super) held: RefCell<BodyBuffer>,
    /// Whether body, perhaps of no bytes, has arrived here and has not been
    /// passed on.
    pub(super) body_pending: Cell<bool>,
    /// Whether the headers have been passed on.
    pub(super) headers_passed: Cell<bool>,
    pub(super) arrived: Cell<Arrived>,
}

impl SlotDirection {
    fn new() -> Self {
        Self {
            iteration: Cell::new(Iteration::Running),
            held: RefCell::default(),
            body_pending: Cell::new(false),
            headers_passed: Cell::new(false),
            arrived: Cell::new(Arrived::Nothing),
        }
    }

    /// Whether this filter holds as much as it may, and the sender should wait.
    pub(super) fn is_over_watermark(&self, limit: usize) -> bool {
        match self.iteration.get() {
            Iteration::HoldAll(Overflow::PushBack) | Iteration::HoldBody(Overflow::PushBack) => {
                self.held.borrow().len() >= limit.max(1)
            }
            _ => false,
        }
    }

    /// Takes what is held.
    pub(super) fn take_held(&self) -> BodyBuffer {
        self.body_pending.set(false);
        self.held.take()
    }

    /// Puts back what stays held.
    pub(super) fn hold(&self, body: BodyBuffer) {
        self.body_pending.set(true);
        *self.held.borrow_mut() = body;
    }
}

/// Whether a filter takes part in a stream.
#[derive(Clone)]
pub(super) enum Presence {
    /// No callback has reached it yet.
    NotYet,
    /// It has a context.
    Live(Rc<Vm>, ContextId),
    /// It is passed by: by policy, or because its VM has failed.
    Absent,
}

/// Which version of a filter runs.
enum Role {
    /// The filter's own.
    Stable,
    /// The other one, in place of this.
    Canary {
        stable: Rc<Plugin>,
        versions: Rc<Versions>,
        /// It runs, and its response has not begun.
        awaits: Cell<bool>,
    },
    /// The filter's own, and the other one on a copy.
    Shadowed(Box<Shadow>),
}

/// One filter's place in a stream's chain.
pub(super) struct Slot {
    pub(super) plugin: Rc<Plugin>,
    role: Role,
    /// Whether somebody looks at what it does.
    watched: bool,
    pub(super) presence: RefCell<Presence>,
    request: SlotDirection,
    response: SlotDirection,
}

impl Slot {
    /// For a stream with these request headers, of this client. `tapped`: somebody looks
    /// at what all filters do.
    pub(super) fn new(
        link: &Link,
        headers: &HeaderMap,
        client: Option<IpAddr>,
        tapped: bool,
    ) -> Self {
        let stable = Rc::clone(&link.plugin);
        let (plugin, role) = match &link.versions {
            None => (stable, Role::Stable),
            Some(versions) => match versions.choose(headers, client) {
                Chosen::Stable => (stable, Role::Stable),
                Chosen::Canary(plugin) => {
                    let role = Role::Canary {
                        stable,
                        versions: Rc::clone(versions),
                        awaits: Cell::new(false),
                    };
                    (plugin, role)
                }
                Chosen::Shadowed(plugin) => {
                    let shadow = Shadow::new(plugin, Rc::clone(versions));
                    (stable, Role::Shadowed(Box::new(shadow)))
                }
            },
        };
        Self {
            watched: tapped || matches!(role, Role::Shadowed(_)),
            plugin,
            role,
            presence: RefCell::new(Presence::NotYet),
            request: SlotDirection::new(),
            response: SlotDirection::new(),
        }
    }

    /// What the stream gets of the filter. Where the canary's VM is not there, the
    /// filter itself steps in.
    pub(super) fn admit(&self) -> Admission {
        let admission = self.plugin.admit();
        let Role::Canary {
            stable,
            versions,
            awaits,
        } = &self.role
        else {
            return admission;
        };
        if matches!(admission, Admission::Refuse) {
            versions.cells.stable_began();
            return stable.admit();
        }
        versions.cells.canary_began();
        awaits.set(true);
        admission
    }

    /// Whether somebody looks at what it does.
    pub(super) fn is_watched(&self) -> bool {
        self.watched
    }

    pub(super) fn shadow(&self) -> Option<&Shadow> {
        match &self.role {
            Role::Shadowed(shadow) => Some(shadow),
            Role::Stable | Role::Canary { .. } => None,
        }
    }

    /// The response has begun, or there will be none. Has no effect a second time.
    pub(super) fn responded(&self, info: &StreamInfo) {
        if let Role::Canary {
            versions, awaits, ..
        } = &self.role
            && awaits.replace(false)
        {
            versions.canary_responded(info.elapsed());
        }
    }

    pub(super) fn direction(&self, direction: Direction) -> &SlotDirection {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    /// Whether no callback has reached the filter yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(*self.presence.borrow(), Presence::NotYet)
    }

    /// Whether the filter is passed by.
    pub(super) fn is_absent(&self) -> bool {
        matches!(*self.presence.borrow(), Presence::Absent)
    }

    /// The VM and context, if the filter takes part.
    pub(super) fn live(&self) -> Option<(Rc<Vm>, ContextId)> {
        match &*self.presence.borrow() {
            Presence::Live(vm, context) => Some((Rc::clone(vm), *context)),
            Presence::NotYet | Presence::Absent => None,
        }
    }
}
