//! Logging, clock and status.

use super::{Cx, Outcome, Table};
use crate::types::{LogLevel, Status};

/// What `proxy_get_log_level` answers when nothing is logged.
const LOG_OFF: u32 = 6;

pub(super) fn define(t: &mut Table) {
    t.anytime("proxy_log", log);
    t.call("proxy_get_log_level", get_log_level);
    t.call("proxy_get_current_time_nanoseconds", get_current_time);
    t.call("proxy_get_status", get_status);
}

fn log(c: &mut Cx<'_>, level: u32, message: u32, length: u32) -> Outcome {
    let level = LogLevel::from_wire(level).ok_or(Status::BadArgument)?;
    let state = c.state().clone();
    let message = c.read(message, length)?;
    state.say(level, message);
    Ok(())
}

fn get_log_level(c: &mut Cx<'_>, level_out: u32) -> Outcome {
    let level = c.state().host.log_level().map_or(LOG_OFF, |l| l as u32);
    Ok(c.write_u32(level_out, level)?)
}

fn get_current_time(c: &mut Cx<'_>, time_out: u32) -> Outcome {
    let now = c.state().host.wall_clock().as_nanos();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    Ok(c.write(time_out, &now.to_le_bytes())?)
}

/// Status of the callout of this root context that ended last, and its message
/// while that end is delivered.
fn get_status(c: &mut Cx<'_>, code_out: u32, message_out: u32, length_out: u32) -> Outcome {
    let root = c.state().root();
    let (code, message) = root.map_or_else(Default::default, |root| {
        let status = &root.callout;
        (status.code.get(), status.message.borrow().clone())
    });
    c.write_u32(code_out, code)?;
    c.give(&message, message_out, length_out)
}
