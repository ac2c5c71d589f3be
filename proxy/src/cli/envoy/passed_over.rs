//! Arguments of Envoy's that say nothing to Weir, and are taken all the same.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

const HEADING: &str = "Without effect";

/// Which process after the first this is: another value than 0 is refused.
const RESTART_EPOCH: &str = "restart-epoch";

/// Each with its value, if it takes one, and why it has no effect.
const ALL: [(&str, &str, &str); 23] = [
    (
        "allow-unknown-dynamic-fields",
        "",
        "a management server hears of what is not supported",
    ),
    ("reject-unknown-dynamic-fields", "", "as above"),
    ("ignore-unknown-dynamic-fields", "", "as above"),
    ("base-id", "N", "processes share no memory"),
    ("base-id-path", "FILE", "as above"),
    ("use-dynamic-base-id", "", "as above"),
    ("bootstrap-version", "N", "there is one"),
    (
        "component-log-level",
        "NAME:LEVEL,…",
        "components are called otherwise: WEIR_LOG, or /logging",
    ),
    (
        "cpuset-threads",
        "",
        "there are as many workers as processors that may be used",
    ),
    (
        "disable-hot-restart",
        "",
        "nothing is handed to another process",
    ),
    (RESTART_EPOCH, "0", "there is only a first process"),
    ("skip-hot-restart-on-no-parent", "", "as above"),
    ("skip-hot-restart-parent-stats", "", "as above"),
    ("parent-shutdown-time-s", "SECONDS", "as above"),
    ("socket-path", "PATH", "as above"),
    ("socket-mode", "MODE", "as above"),
    (
        "drain-strategy",
        "WORD",
        "all connections are told to end at once",
    ),
    ("enable-core-dump", "", "the system's limits say so"),
    (
        "enable-fine-grain-logging",
        "",
        "levels are of modules: /logging",
    ),
    (
        "file-flush-interval-msec",
        "N",
        "access logs are written at once",
    ),
    (
        "local-address-ip-version",
        "FAMILY",
        "a connection's own address is of its peer's family",
    ),
    ("log-format", "TEXT", "lines have a form of their own"),
    ("skip-deprecated-logs", "", "there are none"),
];

/// Which of them were given.
pub(super) struct PassedOver(Vec<&'static str>);

impl PassedOver {
    pub(super) fn given(&self) -> &[&'static str] {
        &self.0
    }
}

impl Args for PassedOver {
    fn augment_args(command: Command) -> Command {
        command.args(ALL.iter().map(|(name, value, why)| {
            let arg = Arg::new(*name).long(*name).help(*why).help_heading(HEADING);
            if *name == RESTART_EPOCH {
                let first = clap::value_parser!(u32).range(..1);
                arg.value_name(*value).value_parser(first)
            } else if value.is_empty() {
                arg.action(ArgAction::SetTrue)
            } else {
                arg.value_name(*value).allow_hyphen_values(true)
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PassedOver {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |(name, value, _): &&(&'static str, &str, &str)| {
            if value.is_empty() {
                matches.get_flag(name)
            } else {
                matches.contains_id(name)
            }
        };
        Ok(Self(
            ALL.iter().filter(given).map(|(name, ..)| *name).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
