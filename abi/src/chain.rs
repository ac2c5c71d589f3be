//! Callbacks of the filters of a chain that follow each other without anything between
//! them, as at the end of a stream: those of several VMs are made in one entry into the
//! engine, as far as can be.

use std::cell::{Cell, RefMut};
use std::rc::Rc;

use crate::context::Context;
use crate::engine::{Instance, Part, Turn, make_parts};
use crate::meter::Meter;
use crate::stream::{DELETE, DONE, LOG, StreamContext, Visible};
use crate::types::ContextId;
use crate::vm::Vm;
use crate::vm_state::VmState;

/// Runs `proxy_on_log` of these contexts of one stream, one after the other, each as
/// [`Vm::on_log`] does. A VM that fails does not keep the others from theirs.
pub fn log_streams(contexts: &[(Rc<Vm>, ContextId)]) {
    let mut due = Vec::with_capacity(contexts.len());
    for (vm, id) in contexts {
        let log = vm.callbacks.on_log.as_ref();
        match log.and_then(|log| Due::new(vm, *id, [log.turn(LOG, (id.0,))])) {
            Some(one) => due.push(one),
            None => {
                make(&mut due, |_| {});
                // Failures are reported by the VM's host.
                let _ = vm.on_log(*id);
            }
        }
    }
    make(&mut due, |_| {});
}

/// Ends these contexts, one after the other, each as [`Vm::delete_stream`] does. A VM that
/// fails does not keep the others from theirs.
pub fn delete_streams(contexts: &[(Rc<Vm>, ContextId)]) {
    let removed = |due: &Due<'_, 2>| due.vm.forget_stream(due.cx.id, due.is_made.get());
    let mut due = Vec::with_capacity(contexts.len());
    for (vm, id) in contexts {
        let (done, delete) = (&vm.callbacks.on_done, &vm.callbacks.on_delete);
        let turns = done.as_ref().zip(delete.as_ref()).map(|(done, delete)| {
            let id = (id.0,);
            [done.turn(DONE, id), delete.turn(DELETE, id)]
        });
        match turns.and_then(|turns| Due::new(vm, *id, turns)) {
            Some(one) => due.push(one),
            None => {
                make(&mut due, removed);
                let _ = vm.delete_stream(*id);
            }
        }
    }
    make(&mut due, removed);
}

/// Callbacks that one context is due.
struct Due<'a, const COUNT: usize> {
    vm: &'a Vm,
    context: Context,
    cx: Rc<StreamContext>,
    turns: [Turn; COUNT],
    /// Whether all have returned.
    is_made: Cell<bool>,
}

impl<'a, const COUNT: usize> Due<'a, COUNT> {
    /// `None` where the VM has failed, or where each call is made by itself, as somebody
    /// looks at it, or adds up what all of a stream take.
    fn new(vm: &'a Vm, id: ContextId, turns: [Turn; COUNT]) -> Option<Self> {
        let (context, cx) = vm.stream_context(id).ok()?;
        let is_plain = vm.state.watch.is_none() && cx.root.plugin.time.stream.is_none();
        is_plain.then_some(Self {
            vm,
            context,
            cx,
            turns,
            is_made: Cell::new(false),
        })
    }

    fn state(&self) -> &VmState {
        &self.vm.state
    }

    fn meter(&self) -> Option<&dyn Meter> {
        self.cx.root.meter.as_deref()
    }

    fn part<'b>(&'b self, instance: &'b mut Instance) -> Part<'b> {
        instance.part(&self.turns, self.cx.root.plugin.time.callback)
    }

    /// Its first call begins; the moment, by its meter's clock.
    fn enter(&self) -> u64 {
        self.cx.visible.set(if self.turns[0].name == LOG {
            Visible::LOG.with(Visible::OVER)
        } else {
            Visible::OVER
        });
        self.state().enter(self.context.clone());
        self.meter().map_or(0, Meter::now)
    }

    /// A call, which began at `began`, has ended; the moment.
    fn returned(&self, place: usize, began: u64) -> u64 {
        match (self.meter(), self.turns[place].callback) {
            (Some(meter), Some(callback)) => meter.called(callback, began),
            _ => began,
        }
    }

    /// The last of its calls, as far as they are made in this entry, has ended.
    fn leave(&self) {
        if let Some(meter) = self.meter() {
            self.state().drain_tally(meter);
        }
        self.state().leave();
        self.cx.visible.set(Visible::OVER);
    }
}

/// Makes all that is due, and has each forgotten by `after`.
fn make<const COUNT: usize>(due: &mut Vec<Due<'_, COUNT>>, after: impl Fn(&Due<'_, COUNT>)) {
    let mut rest = &due[..];
    while !rest.is_empty() {
        let dealt_with = enter(rest);
        rest = &rest[dealt_with..];
    }
    due.drain(..).for_each(|due| after(&due));
}

/// Makes, of what is due, what can be made in one entry, and what the last one is still due
/// then. How many have been dealt with: one at least.
fn enter<const COUNT: usize>(due: &[Due<'_, COUNT>]) -> usize {
    let mut slots: Vec<_> = due.iter().map_while(|due| borrowed(due.vm)).collect();
    let alone = slots.iter().position(|slot| slot.is_entered_for_each());
    slots.truncate(alone.map_or(slots.len(), |place| place.max(1)));
    if slots.is_empty() {
        return 1;
    }
    let parts = slots.iter_mut().zip(due).map(|(slot, due)| due.part(slot));
    let parts: Vec<_> = parts.collect();
    let began = Cell::new(due[0].enter());
    let (progress, result) = make_parts(&parts, &|part, place| {
        let (last, last_place) = match place {
            0 => (&due[part - 1], COUNT - 1),
            _ => (&due[part], place - 1),
        };
        if !last.state().is_untouched() {
            return false;
        }
        began.set(last.returned(last_place, began.get()));
        if place == 0 {
            last.leave();
            began.set(due[part].enter());
        }
        true
    });
    drop(parts);
    drop(slots);
    let (made, last) = due.split_at(progress.part);
    made.iter().for_each(|due| due.is_made.set(true));
    let last = &last[0];
    // The one that was under way, or else has returned last.
    let place = progress.turns.saturating_sub(usize::from(result.is_ok()));
    let place = place.min(COUNT - 1);
    last.returned(place, began.get());
    last.leave();
    match result {
        Ok(()) => {
            last.vm.deal_with_what_was_left();
            let still_due = &last.turns[progress.turns..];
            let made = last.vm.call_all(&last.context, still_due, &|_| {});
            last.is_made.set(made.is_ok());
        }
        Err(trap) => last.vm.end(&last.context, last.turns[place].name, *trap),
    }
    progress.part + 1
}

/// The instance of a VM that takes calls.
fn borrowed(vm: &Vm) -> Option<RefMut<'_, Instance>> {
    let slot = vm.instance.try_borrow_mut().ok()?;
    RefMut::filter_map(slot, Option::as_mut).ok()
}
