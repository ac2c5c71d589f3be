//! `rollout`.

use serde_json::Value as Json;

use super::{Object, plugins};
use crate::defaults::{ROLLBACK_MIN_STREAMS, ROLLBACK_WINDOW};
use crate::rollout::{Canary, RollbackOn, Rollout, StickyBy};

pub(super) fn rollout(rollout: &Rollout) -> Json {
    let mut block = Object::default();
    block.set("wasm", plugins::plugin(&rollout.wasm));
    block.set("canary", rollout.canary.as_ref().map(canary));
    block.flag("shadow", rollout.shadow, false);
    block.set("rollback_on", rollout.rollback_on.as_ref().map(rollback));
    block.into()
}

fn canary(canary: &Canary) -> Json {
    let mut block = Object::default();
    block.set("weight", canary.weight.to_string());
    let mut sticky = Object::default();
    match &canary.sticky_by {
        Some(StickyBy::Header(name)) => sticky.set("header", name.as_str()),
        Some(StickyBy::Cookie(name)) => sticky.set("cookie", name.as_str()),
        Some(StickyBy::Source) => sticky.flag("source", true, false),
        None => {}
    }
    block.set("sticky_by", sticky);
    block.into()
}

fn rollback(on: &RollbackOn) -> Json {
    let mut block = Object::default();
    block.set("trap_rate", on.trap_rate.map(|rate| rate.to_string()));
    block.set("latency", on.latency.map(super::duration));
    block.duration("window", on.window, ROLLBACK_WINDOW);
    if on.min_streams != ROLLBACK_MIN_STREAMS {
        block.set("min_streams", on.min_streams);
    }
    block.into()
}
