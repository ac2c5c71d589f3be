//! The contexts of a stream's filters: created when the stream reaches a filter,
//! or else for the log.

use std::rc::Rc;

use weir_abi::{ContextId, Direction, FilterIndex, Vm};

use super::FilteredStream;
use super::slot::Presence;
use super::view::FilterView;
use crate::filter::Admission;

/// How a filter meets what comes to it.
pub(super) enum Participant {
    Runs(Rc<Vm>, ContextId),
    PassedBy,
    /// The stream's course has ended over it.
    Refused,
}

impl FilteredStream {
    /// The filter at `index`, with a context if it takes part.
    pub(super) fn participant(self: &Rc<Self>, index: usize, direction: Direction) -> Participant {
        match direction {
            // A filter that has not seen the request does not see the response.
            Direction::Response => match self.slots[index].live() {
                Some((vm, context)) => Participant::Runs(vm, context),
                None => Participant::PassedBy,
            },
            Direction::Request => match self.ensure_context(index) {
                Some((vm, context)) if !self.diverted() => Participant::Runs(vm, context),
                Some(_) => Participant::Refused,
                None if self.request_over.get() => Participant::Refused,
                None => Participant::PassedBy,
            },
        }
    }

    /// The context of the filter at `index`, created now if it has none. `None`
    /// when the filter does not take part; the request is answered if that is
    /// its policy.
    fn ensure_context(self: &Rc<Self>, index: usize) -> Option<(Rc<Vm>, ContextId)> {
        let slot = &self.slots[index];
        if !matches!(*slot.presence.borrow(), Presence::NotYet) {
            return slot.live();
        }
        let created = match slot.admit() {
            Admission::Run(vm, root) => self.create_context(index, &vm, root),
            Admission::PassBy => {
                slot.presence.replace(Presence::Absent);
                return None;
            }
            Admission::Refuse => None,
        };
        if created.is_none() {
            slot.presence.replace(Presence::Absent);
            self.fail_filter();
        }
        created
    }

    /// The context of the filter at `index`, for the log: a filter that the
    /// request has not reached gets one, too, if its VM runs.
    pub(super) fn context_for_log(self: &Rc<Self>, index: usize) -> Option<(Rc<Vm>, ContextId)> {
        let slot = &self.slots[index];
        if !matches!(*slot.presence.borrow(), Presence::NotYet) {
            return slot.live();
        }
        let (vm, root) = slot.plugin.running()?;
        self.create_context(index, &vm, root)
    }

    fn create_context(
        self: &Rc<Self>,
        index: usize,
        vm: &Rc<Vm>,
        root: ContextId,
    ) -> Option<(Rc<Vm>, ContextId)> {
        let view = FilterView {
            stream: Rc::clone(self),
            index,
        };
        let filter = FilterIndex::try_from(index).unwrap_or(FilterIndex::MAX);
        let context = vm.create_stream(root, Rc::new(view), filter).ok()?;
        self.take_continue(index, Direction::Request);
        let live = (Rc::clone(vm), context);
        let presence = Presence::Live(Rc::clone(vm), context);
        self.slots[index].presence.replace(presence);
        Some(live)
    }
}
