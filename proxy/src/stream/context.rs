//! The contexts of a stream's filters: created when the stream reaches a filter,
//! or else for the log.

use std::rc::Rc;

use weir_abi::{ContextId, Direction, FilterIndex, HeadersStatus, Vm};

use super::FilteredStream;
use super::slot::Presence;
use super::view::FilterView;
use crate::filter::Admission;

/// How a filter meets what comes to it.
pub(super) enum Participant {
    Runs(Rc<Vm>, ContextId),
    /// It has had the request's headers together with its context.
    Begun(HeadersStatus),
    PassedBy,
    /// The stream's course has ended over it.
    Refused,
}

impl FilteredStream {
    /// The filter at `index`, with a context if it takes part, for the headers of
    /// `direction`.
    pub(super) fn participant(
        self: &Rc<Self>,
        index: usize,
        direction: Direction,
        end_of_stream: bool,
    ) -> Participant {
        match direction {
            // A filter that has not seen the request does not see the response.
            Direction::Response => match self.slots[index].live() {
                Some((vm, context)) => Participant::Runs(vm, context),
                None => Participant::PassedBy,
            },
            Direction::Request => match self.ensure_context(index, end_of_stream) {
                Some((_, _, Some(status))) => Participant::Begun(status),
                Some((vm, context, None)) if !self.diverted() => Participant::Runs(vm, context),
                Some(_) => Participant::Refused,
                None if self.request_over.get() => Participant::Refused,
                None => Participant::PassedBy,
            },
        }
    }

    /// The context of the filter at `index`, created now if it has none, and what its
    /// callback for the request's headers came to, if it was made at once. `None`
    /// when the filter does not take part; the request is answered if that is
    /// its policy.
    fn ensure_context(
        self: &Rc<Self>,
        index: usize,
        end_of_stream: bool,
    ) -> Option<(Rc<Vm>, ContextId, Option<HeadersStatus>)> {
        let slot = &self.slots[index];
        if !slot.is_new() {
            let (vm, context) = slot.live()?;
            return Some((vm, context, None));
        }
        let created = match slot.admit() {
            Admission::Run(vm, root) if self.takes_two_at_once(index) => {
                self.begin_context(index, vm, root, end_of_stream)
            }
            Admission::Run(vm, root) => {
                let created = self.create_context(index, &vm, root);
                created.map(|(vm, context)| (vm, context, None))
            }
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
        if !slot.is_new() {
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
        let (view, filter) = self.view(index);
        let context = vm.create_stream(root, view, filter).ok()?;
        self.created(index, vm, context);
        Some((Rc::clone(vm), context))
    }

    /// Whether the filter at `index` can have two callbacks at once: nobody looks at
    /// what it does in each, and nothing waits to be dealt with between them.
    pub(super) fn takes_two_at_once(&self, index: usize) -> bool {
        !self.slots[index].is_watched() && self.info.trace.is_none() && !self.has_events()
    }

    /// Creates a context that gets the request's headers at once, if the guest lets it.
    fn begin_context(
        self: &Rc<Self>,
        index: usize,
        vm: Rc<Vm>,
        root: ContextId,
        end_of_stream: bool,
    ) -> Option<(Rc<Vm>, ContextId, Option<HeadersStatus>)> {
        let (view, filter) = self.view(index);
        let (context, status) = vm.begin_stream(root, view, filter, end_of_stream).ok()?;
        if status.is_none() {
            self.created(index, &vm, context);
        } else {
            let presence = Presence::Live(Rc::clone(&vm), context);
            self.slots[index].presence.replace(presence);
        }
        Some((vm, context, status))
    }

    /// The stream as the filter at `index` sees it.
    fn view(self: &Rc<Self>, index: usize) -> (Rc<FilterView>, FilterIndex) {
        let view = FilterView {
            stream: Rc::clone(self),
            index,
        };
        let filter = FilterIndex::try_from(index).unwrap_or(FilterIndex::MAX);
        (Rc::new(view), filter)
    }

    /// The filter at `index` has a context, and no callback yet.
    fn created(&self, index: usize, vm: &Rc<Vm>, context: ContextId) {
        self.take_continue(index, Direction::Request);
        let presence = Presence::Live(Rc::clone(vm), context);
        self.slots[index].presence.replace(presence);
    }
}
