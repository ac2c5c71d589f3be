//! [`Shadow`]: another version of a filter that is shown a copy of what the filter
//! sees. What it does to the copy is compared with what the filter does, and dropped.
//!
//! It is shown each callback's input as the filter finds it, before the filter is. So
//! a difference in what one of them does to a body or to headers is told once and
//! does not add up. When they no longer agree on what is to become of the stream, or
//! when the shadow waits for something that only the filter is told, such as the
//! answer to a callout, it sees nothing more but the end.

mod copy;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use weir_abi::{ContextId, Direction, FilterIndex, HttpMap, LocalResponse, Stream, Vm};

use self::copy::Copy;
use super::FilteredStream;
use super::compare::{self, HeaderChanges};
use super::event::Event;
use super::slot::{Iteration, Slot};
use super::watch::{Action, Step};
use crate::filter::{Admission, Plugin};
use crate::rollout::Versions;
use crate::telemetry::{Divergence, ShadowOutcome};

/// The shadow of one filter on one stream.
pub(super) struct Shadow {
    plugin: Rc<Plugin>,
    versions: Rc<Versions>,
    state: RefCell<State>,
    /// A bit for each way in which it has diverged.
    diverged: Cell<u8>,
    /// Whether it has paused, and not gone on, by direction.
    paused: [Cell<bool>; 2],
    /// It waits for what it is not told.
    incomplete: Cell<bool>,
}

#[derive(Clone)]
enum State {
    NotYet,
    Follows(Rc<Vm>, ContextId, Rc<Copy>),
    /// It is shown the end, and nothing before that.
    Left(Rc<Vm>, ContextId, Rc<Copy>),
    Gone(ShadowOutcome),
}

/// What a shadow has done in a callback.
pub(super) struct Done {
    action: Action,
    copy: Rc<Copy>,
}

impl Shadow {
    pub(super) fn new(plugin: Rc<Plugin>, versions: Rc<Versions>) -> Self {
        Self {
            plugin,
            versions,
            state: RefCell::new(State::NotYet),
            diverged: Cell::default(),
            paused: Default::default(),
            incomplete: Cell::default(),
        }
    }

    /// Notes a difference; the first of its kind in a stream counts.
    fn diverges(&self, what: Divergence, details: &str) {
        let bit = 1 << what as u8;
        if self.diverged.get() & bit != 0 {
            return;
        }
        self.diverged.set(self.diverged.get() | bit);
        self.versions.cells.diverged_in(what);
        let Some(unsaid) = self.versions.reports.admit(Instant::now()) else {
            return;
        };
        tracing::warn!(
            listener = self.versions.state.listener,
            filter = self.versions.state.filter,
            unsaid = (unsaid > 0).then_some(unsaid),
            "the shadow of a filter diverges in `{}`: {details}",
            what.label(),
        );
    }

    /// Takes note of pauses that it has ended between callbacks.
    fn note_continues(&self, copy: &Copy) {
        let continued = std::mem::take(&mut copy.asked.borrow_mut().continued);
        for (paused, continued) in self.paused.iter().zip(continued) {
            paused.set(paused.get() && !continued);
        }
    }

    /// Whether it pauses where the filter has gone on. It is noted.
    fn waits_in_vain(&self, slot: &Slot) -> bool {
        let alone = |direction: Direction| {
            let filter = slot.direction(direction).iteration.get();
            self.paused[direction as usize].get() && filter == Iteration::Running
        };
        let alone = alone(Direction::Request) || alone(Direction::Response);
        self.incomplete.set(self.incomplete.get() || alone);
        alone
    }

    /// It sees no more of the stream but its end.
    fn leave(&self) {
        let mut state = self.state.borrow_mut();
        if let State::Follows(vm, context, copy) = &*state {
            *state = State::Left(Rc::clone(vm), *context, Rc::clone(copy));
        }
    }
}

impl FilteredStream {
    /// Shows the shadow of the filter at `index` what that is about to see.
    pub(super) fn show_shadow(
        self: &Rc<Self>,
        index: usize,
        direction: Direction,
        step: Step,
    ) -> Option<Done> {
        let slot = &self.slots[index];
        let shadow = slot.shadow()?;
        let (vm, context, copy) = self.follow(index, shadow, direction)?;
        if vm.failure().is_some() {
            // In another stream: of this one nothing more is known.
            shadow.state.replace(State::Gone(ShadowOutcome::Absent));
            return None;
        }
        shadow.note_continues(&copy);
        if shadow.waits_in_vain(slot) {
            shadow.leave();
            return None;
        }
        copy.take(self, slot, direction);
        let status = match step {
            Step::Headers { end_of_stream } => match direction {
                Direction::Request => vm.on_request_headers(context, end_of_stream),
                Direction::Response => vm.on_response_headers(context, end_of_stream),
            }
            .map(Action::Headers),
            Step::Body { end_of_stream } => {
                let size = copy.bodies[direction as usize].borrow().len();
                let status = vm.on_body(context, direction, size, end_of_stream);
                status.map(Action::Body)
            }
            Step::Trailers => vm.on_trailers(context, direction).map(Action::Trailers),
        };
        let action = match status {
            Err(_) => Action::Failed,
            Ok(action) if copy.asked.borrow().continued[direction as usize] => action.continued(),
            Ok(action) => action,
        };
        shadow.paused[direction as usize].set(!action.goes_on());
        Some(Done { action, copy })
    }

    /// The shadow's context, created when the request comes to it.
    fn follow(
        self: &Rc<Self>,
        index: usize,
        shadow: &Shadow,
        direction: Direction,
    ) -> Option<(Rc<Vm>, ContextId, Rc<Copy>)> {
        let is_new = matches!(*shadow.state.borrow(), State::NotYet);
        if is_new && direction == Direction::Request {
            let state = self.admit_shadow(index, shadow);
            shadow.state.replace(state);
        }
        match &*shadow.state.borrow() {
            State::Follows(vm, context, copy) => Some((Rc::clone(vm), *context, Rc::clone(copy))),
            State::NotYet | State::Left(..) | State::Gone(_) => None,
        }
    }

    fn admit_shadow(self: &Rc<Self>, index: usize, shadow: &Shadow) -> State {
        let Admission::Run(vm, root) = shadow.plugin.admit() else {
            return State::Gone(ShadowOutcome::Absent);
        };
        let copy = Rc::new(Copy::new(self, index));
        let filter = FilterIndex::try_from(index).unwrap_or(FilterIndex::MAX);
        let stream: Rc<dyn Stream> = Rc::<Copy>::clone(&copy);
        match vm.create_stream(root, stream, filter) {
            Ok(context) => {
                shadow.versions.cells.shadow_began();
                State::Follows(vm, context, copy)
            }
            Err(_) => State::Gone(ShadowOutcome::Absent),
        }
    }

    /// Compares what the filter at `index` has done in a callback with what its
    /// shadow has: `action`. What it asked for is still in the queue.
    pub(super) fn compare_shadow(
        &self,
        index: usize,
        direction: Direction,
        done: Option<Done>,
        action: Action,
    ) {
        let (
            Some(shadow),
            Some(Done {
                action: other,
                copy,
            }),
        ) = (self.slots[index].shadow(), done)
        else {
            return;
        };
        let mut asked = copy.asked.borrow_mut();
        let (reply, closed) = self.asked();
        if reply.is_some() || asked.reply.is_some() {
            if reply != asked.reply {
                let details = told(reply.as_ref(), asked.reply.as_ref());
                shadow.diverges(Divergence::LocalResponse, &details);
                shadow.leave();
            }
            asked.reply = None;
            // The pause that an answer is, is none.
            shadow.paused[direction as usize].set(false);
            return;
        }
        if action != other || closed != asked.closed {
            let closes = |closed| if closed { ", closes" } else { "" };
            let details = format!(
                "filter {action:?}{}, shadow {other:?}{}",
                closes(closed),
                closes(asked.closed)
            );
            shadow.diverges(Divergence::Action, &details);
            shadow.leave();
        }
        asked.continued = [false; 2];
        drop(asked);
        if other == Action::Failed {
            shadow.state.replace(State::Gone(ShadowOutcome::Diverged));
            return;
        }
        if action != Action::Failed {
            self.compare_copy(index, direction, shadow, &copy);
        }
    }

    fn compare_copy(&self, index: usize, direction: Direction, shadow: &Shadow, copy: &Copy) {
        let (headers, trailers) = maps(direction);
        for (map, what) in [
            (headers, Divergence::Headers),
            (trailers, Divergence::Trailers),
        ] {
            let (filter, shadowed) = (self.map(map), copy.headers(map));
            if let Some(changes) = compare::headers(filter.as_deref(), shadowed.as_deref()) {
                shadow.diverges(what, &told_of(changes));
            }
        }
        let held = self.slots[index].direction(direction).held.borrow();
        let body = copy.bodies[direction as usize].borrow();
        if !compare::is_same_body(&held, &body) {
            let details = format!("{} bytes, shadow {} bytes", held.len(), body.len());
            shadow.diverges(Divergence::Body, &details);
        }
        drop(body);
        copy.bodies[direction as usize].take();
    }

    /// What the callback that has just returned asked for: an answer, a reset.
    fn asked(&self) -> (Option<LocalResponse>, bool) {
        let events = self.events.borrow();
        let reply = events.iter().find_map(|event| match event {
            Event::LocalResponse(response) => Some(response.clone()),
            _ => None,
        });
        (reply, events.iter().any(|e| matches!(e, Event::Close)))
    }

    /// The stream has ended: its shadows log it and are counted.
    pub(super) fn finish_shadows(&self) {
        let with_shadows = self
            .slots
            .iter()
            .filter_map(|slot| Some((slot, slot.shadow()?)));
        for (slot, shadow) in with_shadows {
            let outcome = match shadow.state.replace(State::NotYet) {
                State::NotYet => continue,
                State::Gone(outcome) => outcome,
                State::Follows(vm, context, copy) | State::Left(vm, context, copy) => {
                    shadow.note_continues(&copy);
                    shadow.waits_in_vain(slot);
                    let undecided = shadow.paused.iter().any(Cell::get);
                    copy.take_all(self);
                    // Failures are reported by the VM's host; the stream is over.
                    let _ = vm.on_log(context);
                    let _ = vm.delete_stream(context);
                    match shadow.diverged.get() {
                        0 if undecided || shadow.incomplete.get() => ShadowOutcome::Incomplete,
                        0 => ShadowOutcome::Same,
                        _ => ShadowOutcome::Diverged,
                    }
                }
            };
            shadow.versions.cells.followed(outcome);
        }
    }
}

pub(super) fn maps(direction: Direction) -> (HttpMap, HttpMap) {
    match direction {
        Direction::Request => (HttpMap::RequestHeaders, HttpMap::RequestTrailers),
        Direction::Response => (HttpMap::ResponseHeaders, HttpMap::ResponseTrailers),
    }
}

/// How two answers differ, in words without anything that may be secret.
fn told(filter: Option<&LocalResponse>, shadow: Option<&LocalResponse>) -> String {
    let words = |reply: Option<&LocalResponse>| match reply {
        Some(reply) => format!("answers {}", reply.code),
        None => "does not answer".to_owned(),
    };
    let (filter, shadow) = (words(filter), words(shadow));
    if filter == shadow {
        format!("both {filter}, with other headers, body or details")
    } else {
        format!("filter {filter}, shadow {shadow}")
    }
}

/// The headers that two maps do not agree on, in words without their values.
fn told_of(changes: HeaderChanges) -> String {
    match changes {
        HeaderChanges::Order => "order".to_owned(),
        HeaderChanges::Values(changes) => {
            let names = changes.iter().map(|c| String::from_utf8_lossy(&c.name));
            names.collect::<Vec<_>>().join(", ")
        }
    }
}
