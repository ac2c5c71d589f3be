//! [`Levels`]: from which level on something is logged.

use std::collections::BTreeMap;
use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use weir_abi::LogLevel;

use super::GUEST;

/// Levels of targets, and of filters by their name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Levels {
    /// As they were at the start.
    initial: Targets,
    targets: Targets,
    plugins: BTreeMap<String, LevelFilter>,
    /// What filters without a level of their own may log.
    guest: Option<LogLevel>,
}

/// What is not a level or a target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LevelError {
    #[error("`{0}` is not a level: trace, debug, info, warning, error, critical or off")]
    Level(String),
    #[error("`{0}` is not a target of the log, such as `guest` or `weir::reload`")]
    Target(String),
}

impl Levels {
    /// What `directives` say, such as `info,guest=debug`.
    ///
    /// # Errors
    /// When they are not well-formed.
    pub(crate) fn parse(directives: &str) -> Result<Self, LevelError> {
        let targets: Result<Targets, _> = directives.parse();
        let targets = targets.map_err(|_| LevelError::Target(directives.to_owned()))?;
        let mut levels = Self {
            initial: targets.clone(),
            targets,
            plugins: BTreeMap::new(),
            guest: None,
        };
        levels.refresh();
        Ok(levels)
    }

    /// Everything, for whoever asks at the start how much there can be.
    pub(crate) fn all() -> Self {
        let targets = Targets::new().with_default(LevelFilter::TRACE);
        let mut levels = Self {
            initial: targets.clone(),
            targets,
            ..Self::default()
        };
        levels.refresh();
        levels
    }

    /// Has all targets log from this level on.
    pub(crate) fn set_all(&mut self, level: LevelFilter) {
        self.targets = Targets::new().with_default(level);
        self.refresh();
    }

    /// Has `target`, and what is below it, log from this level on.
    ///
    /// # Errors
    /// When that is not the name of one.
    pub(crate) fn set_target(
        &mut self,
        target: &str,
        level: LevelFilter,
    ) -> Result<(), LevelError> {
        let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
        if target.is_empty() || !target.chars().all(clean) {
            return Err(LevelError::Target(target.to_owned()));
        }
        self.targets = self.targets.clone().with_target(target, level);
        self.refresh();
        Ok(())
    }

    /// Has the filter of this name log from this level on.
    pub(crate) fn set_plugin(&mut self, plugin: &str, level: LevelFilter) {
        self.plugins.insert(plugin.to_owned(), level);
    }

    /// Everything as it was at the start.
    pub(crate) fn reset(&mut self) {
        self.targets = self.initial.clone();
        self.plugins.clear();
        self.refresh();
    }

    /// The level that a filter has of its own.
    pub(crate) fn plugin(&self, plugin: &str) -> Option<LevelFilter> {
        self.plugins.get(plugin).copied()
    }

    /// All filters that have one.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = (&str, LevelFilter)> {
        self.plugins
            .iter()
            .map(|(name, level)| (name.as_str(), *level))
    }

    /// Targets that have a level of their own, the default with an empty name first.
    pub(crate) fn targets(&self) -> Vec<(String, LevelFilter)> {
        let default = self.targets.default_level().unwrap_or(LevelFilter::OFF);
        let mut all = vec![(String::new(), default)];
        let named = self.targets.iter().filter(|(target, _)| !target.is_empty());
        all.extend(named.map(|(target, level)| (target.to_owned(), level)));
        all[1..].sort();
        all
    }

    pub(super) fn admits(&self, metadata: &Metadata<'_>) -> bool {
        self.targets
            .would_enable(metadata.target(), metadata.level())
    }

    /// The lowest level that a filter may log; `None` if it may log nothing.
    pub(super) fn of_plugin(&self, plugin: &str) -> Option<LogLevel> {
        if self.plugins.is_empty() {
            return self.guest;
        }
        let own = self.plugins.get(plugin).copied();
        own.map_or(self.guest, guest_level)
    }

    pub(super) fn most_verbose(&self) -> LevelFilter {
        let targets = self.targets.iter().map(|(_, level)| level);
        let all = targets.chain(self.plugins.values().copied());
        let default = self.targets.default_level().unwrap_or(LevelFilter::OFF);
        all.fold(default, LevelFilter::max)
    }

    fn refresh(&mut self) {
        let levels = [
            Level::TRACE,
            Level::DEBUG,
            Level::INFO,
            Level::WARN,
            Level::ERROR,
        ];
        let lowest = levels
            .into_iter()
            .find(|level| self.targets.would_enable(GUEST, level));
        self.guest = lowest.and_then(|level| guest_level(level.into()));
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "active levels:")?;
        for (target, level) in self.targets() {
            let target = if target.is_empty() {
                "default"
            } else {
                &target
            };
            writeln!(f, "  {target}: {level}")?;
        }
        if !self.plugins.is_empty() {
            writeln!(f, "filters:")?;
        }
        for (name, level) in self.plugins() {
            writeln!(f, "  {}: {level}", name.escape_debug())?;
        }
        Ok(())
    }
}

/// A level by its name, or by one that Envoy has for it.
///
/// # Errors
/// When it is not one.
pub(crate) fn level(name: &str) -> Result<LevelFilter, LevelError> {
    match name {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "error" | "critical" => Ok(LevelFilter::ERROR),
        "off" => Ok(LevelFilter::OFF),
        _ => Err(LevelError::Level(name.to_owned())),
    }
}

fn guest_level(level: LevelFilter) -> Option<LogLevel> {
    Some(match level.into_level()? {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_log_as_their_target_does_or_as_they_are_told() {
        let mut levels = Levels::parse("info,guest=warn").unwrap();
        assert_eq!(levels.of_plugin("a"), Some(LogLevel::Warn));
        levels.set_plugin("a", LevelFilter::TRACE);
        levels.set_plugin("b", LevelFilter::OFF);
        assert_eq!(levels.of_plugin("a"), Some(LogLevel::Trace));
        assert_eq!(levels.of_plugin("b"), None);
        assert_eq!(levels.of_plugin("c"), Some(LogLevel::Warn));
        assert_eq!(levels.most_verbose(), LevelFilter::TRACE);
        levels.set_all(LevelFilter::DEBUG);
        assert_eq!(levels.of_plugin("c"), Some(LogLevel::Debug));
        levels.reset();
        assert_eq!(levels.of_plugin("a"), Some(LogLevel::Warn));
        assert_eq!(levels.most_verbose(), LevelFilter::INFO);
        assert_eq!(
            levels.to_string(),
            "active levels:\n  default: info\n  guest: warn\n"
        );
    }

    #[test]
    fn nothing_else_is_a_level_or_a_target() {
        assert_eq!(level("warning"), Ok(LevelFilter::WARN));
        assert_eq!(level("Debug"), Err(LevelError::Level("Debug".to_owned())));
        let mut levels = Levels::default();
        for target in ["", "a b", "a=b", "[x]"] {
            assert!(levels.set_target(target, LevelFilter::INFO).is_err());
        }
        assert_eq!(levels.set_target("weir::reload", LevelFilter::INFO), Ok(()));
    }
}
