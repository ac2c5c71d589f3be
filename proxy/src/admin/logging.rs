//! `/logging`: which levels are logged, of Weir by target and of filters by name.

use super::AdminState;
use super::answer::Answer;
use super::request::{Method, Request};
use crate::logging::{self, LevelError, Levels};

/// `/logging`
pub(super) fn logging(state: &AdminState, request: &Request) -> Answer {
    let mut levels = logging::levels();
    if request.method == Method::Post {
        if let Err(error) = change(state, request, &mut levels) {
            return Answer::code(400, format!("{error}\n"));
        }
        tracing::info!("the admin has changed what is logged");
        logging::set(levels.clone());
    } else if !request.parameters.is_empty() {
        return Answer::code(405, "levels are changed by POST\n").header("allow", "POST");
    }
    Answer::text(levels.to_string())
}

/// Why levels stay as they are.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Level(#[from] LevelError),
    #[error("no filter is called `{name}`; there are: {known}")]
    Plugin { name: String, known: String },
    #[error(
        "usage: /logging?level=L, ?plugin=NAME&level=L, ?TARGET=L, ?paths=TARGET:L,… or ?reset"
    )]
    Usage,
}

fn change(state: &AdminState, request: &Request, levels: &mut Levels) -> Result<(), Refused> {
    let level = request.parameter("level");
    let level = level.map(logging::level).transpose()?;
    match (request.parameter("plugin"), level) {
        (Some(plugin), Some(level)) if request.parameters.len() == 2 => {
            check_plugin(state, plugin)?;
            levels.set_plugin(plugin, level);
            return Ok(());
        }
        (None, Some(level)) if request.parameters.len() == 1 => {
            levels.set_all(level);
            return Ok(());
        }
        (None, None) => {}
        _ => return Err(Refused::Usage),
    }
    match &request.parameters[..] {
        [] => Err(Refused::Usage),
        [(name, _)] if name == "reset" => {
            levels.reset();
            Ok(())
        }
        [(name, paths)] if name == "paths" => {
            for path in paths.split(',') {
                let (target, level) = path.rsplit_once(':').ok_or(Refused::Usage)?;
                levels.set_target(target, logging::level(level)?)?;
            }
            Ok(())
        }
        targets => {
            for (target, level) in targets {
                levels.set_target(target, logging::level(level)?)?;
            }
            Ok(())
        }
    }
}

fn check_plugin(state: &AdminState, name: &str) -> Result<(), Refused> {
    let served = state.served.load();
    let vms = served.iter().flat_map(|served| &served.generation.vms);
    let plugins = vms.flat_map(|vm| &vm.plugins);
    let names: Vec<_> = plugins.map(|p| p.plugin.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err(Refused::Plugin {
        name: name.escape_debug().to_string(),
        known: names.join(", "),
    })
}
