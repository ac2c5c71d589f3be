//! Whether the process wants requests, and how it is told to want no more.

use std::sync::Arc;

use super::answer::Answer;
use super::request::Request;
use super::{AdminState, ask};
use crate::health::State;
use crate::reload::{self, Draining};

/// `/ready`
pub(super) fn ready(state: &AdminState) -> Answer {
    let now = state.health.state();
    let code = if now == State::Live { 200 } else { 503 };
    Answer::code(code, format!("{}\n", now.name()))
}

/// `/healthcheck/fail` and `/healthcheck/ok`
pub(super) fn health_check(state: &AdminState, failed: bool) -> Answer {
    state.health.fail(failed);
    tracing::info!(failed, "the admin is told how /ready answers");
    Answer::text("OK\n")
}

/// `/quitquitquit`
pub(super) fn quit(state: &AdminState) -> Answer {
    tracing::info!("the admin is told to end Weir");
    state.health.leave();
    let health = Arc::clone(&state.health);
    // The process may end at once, and who has asked is to know that it was heard.
    Answer::text("OK\n").then(move || health.quit())
}

/// `/drain_listeners`
pub(super) async fn drain_listeners(state: &AdminState, request: &Request) -> Answer {
    let draining = Draining {
        inbound_only: request.has("inboundonly"),
        graceful: request.has("graceful"),
        skip_exit: request.has("skip_exit"),
    };
    if draining.skip_exit && !draining.graceful {
        return Answer::code(400, "usage: /drain_listeners?graceful&skip_exit\n");
    }
    ask(state, |asked| {
        reload::Request::DrainListeners(draining, asked)
    })
    .await
}

/// `/reload`
pub(super) async fn reload(state: &AdminState) -> Answer {
    ask(state, reload::Request::Reload).await
}
