//! What is logged: by target, and of filters by their name, changed while Weir runs.

mod levels;

use std::cell::Cell;
use std::sync::LazyLock;

use arc_swap::ArcSwap;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use weir_abi::LogLevel;

pub(crate) use self::levels::{LevelError, Levels, level};

/// The target of what filters log.
pub(crate) const GUEST: &str = "guest";

/// Until they are set, whoever listens decides.
static LEVELS: LazyLock<ArcSwap<Levels>> = LazyLock::new(|| ArcSwap::from_pointee(Levels::all()));

thread_local! {
    /// What is being logged is a filter's, and has been let through already.
    static ADMITTED: Cell<bool> = const { Cell::new(false) };
}

/// Lets through what [`LEVELS`] say.
pub(crate) struct LogFilter;

impl<S: Subscriber> Layer<S> for LogFilter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == GUEST {
            // It depends on whose line it is.
            Interest::sometimes()
        } else if LEVELS.load().admits(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let admitted = metadata.target() == GUEST && ADMITTED.get();
        admitted || LEVELS.load().admits(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LEVELS.load().most_verbose())
    }
}

/// What holds from now on.
pub(crate) fn set(levels: Levels) {
    LEVELS.store(levels.into());
    tracing::callsite::rebuild_interest_cache();
}

/// What holds now.
pub(crate) fn levels() -> Levels {
    Levels::clone(&LEVELS.load())
}

/// Whether a line of a filter is logged.
pub(crate) fn admits_guest(plugin: &str, level: LogLevel) -> bool {
    LEVELS
        .load()
        .of_plugin(plugin)
        .is_some_and(|least| level >= least)
}

/// The lowest level that is logged of any of these filters; `None` if nothing is.
pub(crate) fn guest_level<'a>(plugins: impl Iterator<Item = &'a str>) -> Option<LogLevel> {
    let levels = LEVELS.load();
    plugins.filter_map(|plugin| levels.of_plugin(plugin)).min()
}

/// Logs a line of a filter that [`admits_guest`] has let through.
pub(crate) fn log_guest(line: impl FnOnce()) {
    ADMITTED.set(true);
    line();
    ADMITTED.set(false);
}
