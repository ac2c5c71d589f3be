//! How a [`Vm`] calls its guest: the guard around every call.

use std::cell::Cell;
use std::slice;
use std::time::Instant;

use crate::context::Context;
use crate::engine::{GuestArgs, GuestFn, GuestTrap, Results, Turn};
use crate::failure::Failure;
use crate::meter::Meter;
use crate::vm::{Vm, VmFailed};
use crate::vm_state::AfterCall;

impl Vm {
    /// Calls `function` for `context`. `Ok(None)` when the module has no such
    /// export. Everything the guest asked for that must wait until it has
    /// returned is done before this returns.
    pub(crate) fn call<A: GuestArgs, R: Results>(
        &self,
        context: &Context,
        callback: &'static str,
        function: Option<&GuestFn<A, R>>,
        args: A,
    ) -> Result<Option<R>, VmFailed> {
        let Some(function) = function else {
            return self.alive().map(|()| None);
        };
        let turn = function.turn(callback, args);
        self.call_in_turn(context, slice::from_ref(&turn), &|_| {})?;
        Ok(Some(R::of(turn.result())))
    }

    /// Makes the calls of `turns`, of which there are some, for `context`: as many from
    /// the first on as can be made in one entry into the engine with nothing between
    /// them. How many that were; what the guest asked for is done before this returns.
    /// `before` is told the place of each but the first when it is about to be made,
    /// within the entry: it must be short.
    pub(crate) fn call_in_turn(
        &self,
        context: &Context,
        turns: &[Turn],
        before: &dyn Fn(usize),
    ) -> Result<usize, VmFailed> {
        let mut slot = self.instance.try_borrow_mut().map_err(|_| VmFailed)?;
        let instance = slot.as_mut().ok_or(VmFailed)?;
        let root = context.root();
        let time = &root.plugin.time;
        let limit = if turns[0].is_root_callback || context.is_starting() {
            time.root_callback
        } else {
            time.callback
        };
        let budget = time.stream.and_then(|all| Some((all, context.spent()?)));
        let limit = match budget {
            None => limit,
            Some((all, spent)) => limit.min(all.saturating_sub(spent.get())),
        };
        let state = &*self.state;
        let watch = state.watch.as_ref();
        // Who looks at each, or adds up their times, has them made one by one.
        let turns = if watch.is_some() || budget.is_some() {
            &turns[..1]
        } else {
            turns
        };
        state.enter(context.clone());
        let began = budget.map(|_| Instant::now());
        if let Some(watch) = watch {
            watch.called(context.id(), turns[0].name, turns[0].arguments());
        }
        let meter = root.meter.as_deref();
        let since = Cell::new(meter.map_or(0, Meter::now));
        let returned = |turn: &Turn| {
            if let (Some(meter), Some(callback)) = (meter, turn.callback) {
                since.set(meter.called(callback, since.get()));
            }
        };
        let (made, result) = instance.call(turns, limit, &|place| {
            let goes_on = state.is_untouched();
            if goes_on {
                returned(&turns[place - 1]);
                before(place);
            }
            goes_on
        });
        // The one that was under way, or else has returned last.
        let last = made.saturating_sub(usize::from(result.is_ok()));
        let last = &turns[last.min(turns.len() - 1)];
        returned(last);
        if let Some(meter) = meter {
            state.drain_tally(meter);
        }
        if let Some(watch) = watch {
            let answer = if result.is_ok() { last.answer() } else { None };
            watch.returned(context.id(), last.name, answer);
        }
        if let (Some(began), Some((_, spent))) = (began, budget) {
            spent.set(spent.get() + began.elapsed());
        }
        state.leave();
        match result {
            Ok(()) => {
                drop(slot);
                if !state.is_untouched() {
                    self.run_after_call();
                }
                Ok(made)
            }
            Err(trap) => {
                slot.take();
                drop(slot);
                self.fail(context, last.name, *trap);
                Err(VmFailed)
            }
        }
    }

    fn fail(&self, context: &Context, callback: &'static str, trap: GuestTrap) {
        let failure = self.failure.get_or_init(|| Failure {
            reason: trap.reason,
            callback,
            context: context.id(),
            message: trap.message,
            backtrace: trap.backtrace,
            last_words: self.state.take_last_words(),
        });
        self.state.clear();
        let origin = self.state.origin_of(Some(context));
        let stream = context.stream().map(|cx| &*cx.stream);
        self.state.host.failed(origin, failure, stream);
    }

    fn run_after_call(&self) {
        while let Some(action) = self.state.next_after_call() {
            match action {
                AfterCall::Continue(context, direction) => {
                    context.stream.continue_stream(context.filter, direction);
                }
                AfterCall::Close(context) => context.stream.close_stream(context.filter),
                AfterCall::LocalResponse(context, response) => {
                    if let Some(meter) = &context.root.meter {
                        meter.local_response();
                    }
                    let (stream, filter) = (&context.stream, context.filter);
                    stream.send_local_response(filter, response);
                    if let Some(last) = context.last_response.take() {
                        stream.send_local_response(filter, last);
                    }
                }
                AfterCall::ContinueReading(context) => {
                    context.connection.continue_reading(context.filter);
                }
                AfterCall::CloseConnection(context) => context.connection.close(context.filter),
                AfterCall::RootDone(root) => self.delete_root(&root),
            }
        }
    }
}
