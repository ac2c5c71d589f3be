//! Contexts and timers.

use std::time::Duration;

use super::{Cx, Outcome, Table};
use crate::plugin::RootState;
use crate::types::{ContextId, Status};
use crate::vm_state::AfterCall;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_set_effective_context", set_effective_context);
    t.call("proxy_done", done);
    t.call("proxy_set_tick_period_milliseconds", set_tick_period);
    // Left by Emscripten's libc; both may be called at any time.
    t.anytime("pthread_equal", |_: &mut Cx<'_>, a: u32, b: u32| {
        u32::from(a == b)
    });
    t.anytime(
        "emscripten_notify_memory_growth",
        |_: &mut Cx<'_>, _: u32| (),
    );
}

fn set_effective_context(c: &mut Cx<'_>, id: u32) -> Outcome {
    if c.state().set_effective(ContextId(id)) {
        Ok(())
    } else {
        Err(Status::BadArgument.into())
    }
}

/// Ends the root context that asked for time in `proxy_on_done`.
fn done(c: &mut Cx<'_>) -> Outcome {
    let root = c.state().root().ok_or(Status::NotFound)?;
    if root.state.get() != RootState::PendingDone {
        return Err(Status::NotFound.into());
    }
    root.state.set(RootState::Running);
    c.state().queue(AfterCall::RootDone(root));
    Ok(())
}

/// The timer of the caller's root context; 0 stops it.
fn set_tick_period(c: &mut Cx<'_>, milliseconds: u32) -> Outcome {
    let Some(root) = c.state().root() else {
        return Ok(());
    };
    let period = (milliseconds > 0).then(|| Duration::from_millis(milliseconds.into()));
    c.state()
        .host
        .set_tick_period(root.id, period)
        .map_err(|_| Status::Unimplemented)?;
    Ok(())
}
