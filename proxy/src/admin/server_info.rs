//! `/server_info` and `/hot_restart_version`: which process this is.

use serde_json::{Value as Json, json};

use super::AdminState;
use super::answer::Answer;
use crate::logging;

/// Says that another process can take over, in which way.
const TAKES_OVER: &str = "weir.1";

pub(super) fn hot_restart_version(state: &AdminState) -> &'static str {
    if state.process.takes_over {
        TAKES_OVER
    } else {
        "disabled"
    }
}

/// In the shape that Envoy has for it.
pub(super) fn to_json(state: &AdminState) -> Json {
    let uptime = format!("{}s", state.metrics.uptime().as_secs());
    let served = state.served.load();
    let node = served.as_ref().map(|served| &served.config.node);
    let arguments = std::env::args_os();
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let levels = logging::levels();
    let default = levels.targets().into_iter().next();
    let mut info = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": state.health.state().name(),
        "hot_restart_version": hot_restart_version(state),
        "command_line_options": {
            "concurrency": state.metrics.concurrency(),
            "log_level": default.map(|(_, level)| level.to_string()),
            "command_line": arguments.collect::<Vec<_>>(),
        },
        "node": node.map(|node| json!({
            "id": node.id,
            "cluster": node.cluster,
            "locality": {
                "region": node.locality.region,
                "zone": node.locality.zone,
                "sub_zone": node.locality.sub_zone,
            },
        })),
        "pid": std::process::id(),
        "generation": served.as_ref().map(|served| served.generation.number),
        "uptime_current_epoch": uptime,
    });
    // What it took over from does not tell how old it was.
    if !state.process.took_over {
        info["uptime_all_epochs"] = uptime.into();
    }
    info
}

/// `/server_info`
pub(super) fn server_info(state: &AdminState) -> Answer {
    Answer::json(&to_json(state))
}
