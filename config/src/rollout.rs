//! Another version of a filter beside the one that serves.

use std::time::Duration;

use crate::defaults::{ROLLBACK_MIN_STREAMS, ROLLBACK_WINDOW};
use crate::error::Problem;
use crate::plugin::PluginConfig;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, Percent};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`rollout`",
    keys: &[
        (
            "wasm",
            "{ vm_config: { code: { local: { filename: auth-2.wasm } } } }",
        ),
        ("canary", "{ weight: 5% }"),
        ("shadow", "true"),
        ("rollback_on", "{ trap_rate: 1% }"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static CANARY_BLOCK: Block = Block {
    name: "`canary`",
    keys: &[("weight", "5%"), ("sticky_by", "{ header: x-user }")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static STICKY_BLOCK: Block = Block {
    name: "`sticky_by`",
    keys: &[
        ("header", "x-user"),
        ("cookie", "session"),
        ("source", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static ROLLBACK_BLOCK: Block = Block {
    name: "`rollback_on`",
    keys: &[
        ("trap_rate", "1%"),
        ("latency", "500ms"),
        ("window", "1m"),
        ("min_streams", "100"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `rollout`: another version of a filter of `http_filters`, which gets a part of
/// the streams (`canary`), or sees the others without having a say (`shadow`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// `wasm`: the other version, whole: nothing is taken from the filter's own
    /// `wasm`, but the name that the filter sees. Required.
    pub wasm: Spanned<PluginConfig>,
    /// `canary`: which streams it gets. Default: none.
    pub canary: Option<Canary>,
    /// `shadow`: whether it sees a copy of what the filter sees on all other
    /// streams. What it changes, answers or calls is dropped, and what differs from
    /// the filter is counted. Default: false.
    pub shadow: bool,
    /// `rollback_on`: when it gets and sees nothing more. Default: never.
    pub rollback_on: Option<RollbackOn>,
}

/// `canary`: the streams that the other version gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// `weight`: how many. Required.
    pub weight: Percent,
    /// `sticky_by`: what streams that get the same version have in common. A stream
    /// that has no such thing gets one by chance. Default: nothing.
    pub sticky_by: Option<StickyBy>,
}

/// `sticky_by`: what decides on the version of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyBy {
    /// `header`: the value of the request header of this name.
    Header(String),
    /// `cookie`: the value of the cookie of this name.
    Cookie(String),
    /// `source: true`: the client's IP address.
    Source,
}

/// `rollback_on`: what ends a rollout before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackOn {
    /// `trap_rate`: VMs of the other version that have failed, for whatever reason,
    /// by its streams: more than this is too much. Default: no matter how many.
    pub trap_rate: Option<Percent>,
    /// `latency`: the 99th percentile of the time from a request's headers to those
    /// of its response, of streams that the canary gets: more than this is too
    /// much. Default: no matter how long.
    pub latency: Option<Duration>,
    /// `window`: how far back is looked; at least 1s. Default: 1m.
    pub window: Duration,
    /// `min_streams`: with fewer streams in the window, as many are assumed. Default:
    /// 100.
    pub min_streams: u32,
}

impl FromYaml for Rollout {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            wasm: FromYaml::placeholder(),
            canary: None,
            shadow: false,
            rollback_on: None,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let rollout = Self {
            wasm: fields.required("wasm"),
            canary: fields.optional("canary"),
            shadow: fields.optional("shadow").unwrap_or(false),
            rollback_on: fields.optional("rollback_on"),
        };
        if rollout.canary.is_none() && !rollout.shadow && fields.node("wasm").is_some() {
            let problem = Problem::new(fields.at(), "this version would never run");
            let help =
                "give it streams with `canary: { weight: 5% }`, or copies with `shadow: true`";
            fields.problems.push(problem.help(help));
        }
        let latency = rollout.rollback_on.as_ref().and_then(|on| on.latency);
        if latency.is_some() && rollout.canary.is_none() {
            let message = "`latency` is that of streams which a `canary` gets, and there is none";
            let problem = Problem::new(fields.key_span("rollback_on"), message);
            fields.problems.push(problem);
        }
        rollout
    }
}

impl FromYaml for Canary {
    const EXPECTED: &'static str = CANARY_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            weight: Percent::default(),
            sticky_by: None,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = CANARY_BLOCK.open(node, problems);
        Self {
            weight: fields.required("weight").value,
            sticky_by: fields.optional("sticky_by"),
        }
    }
}

impl FromYaml for StickyBy {
    const EXPECTED: &'static str = STICKY_BLOCK.name;

    fn placeholder() -> Self {
        Self::Source
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = STICKY_BLOCK.open(node, problems);
        match fields.one_of(&["header", "cookie", "source"]) {
            Some("header") => Self::Header(fields.required_text("header").value),
            Some("cookie") => Self::Cookie(fields.required_text("cookie").value),
            Some(_) => {
                if !fields.optional("source").unwrap_or(true) {
                    let message = "`source: false` says nothing";
                    let problem = Problem::new(fields.key_span("source"), message);
                    fields.problems.push(problem.help("leave `sticky_by` out"));
                }
                Self::Source
            }
            None => {
                let message = "`sticky_by` says nothing to go by";
                let problem = Problem::new(fields.at(), message);
                let help = "write `header: NAME`, `cookie: NAME` or `source: true`";
                fields.problems.push(problem.help(help));
                Self::placeholder()
            }
        }
    }
}

impl FromYaml for RollbackOn {
    const EXPECTED: &'static str = ROLLBACK_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            trap_rate: None,
            latency: None,
            window: ROLLBACK_WINDOW,
            min_streams: ROLLBACK_MIN_STREAMS,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = ROLLBACK_BLOCK.open(node, problems);
        if fields.node("trap_rate").is_none() && fields.node("latency").is_none() {
            let problem = Problem::new(fields.at(), "`rollback_on` names nothing to roll back on");
            let help = "write `trap_rate: 1%`, `latency: 500ms` or both";
            fields.problems.push(problem.help(help));
        }
        let window: Option<Spanned<Duration>> = fields.valid("window");
        if let Some(window) = &window
            && window.value < Duration::from_secs(1)
        {
            let problem = Problem::new(window.span, "less than a second");
            fields
                .problems
                .push(problem.help("for example `window: 1m`"));
        }
        Self {
            trap_rate: fields.optional("trap_rate"),
            latency: fields.optional("latency"),
            window: window.map_or(ROLLBACK_WINDOW, |window| window.value),
            min_streams: fields
                .optional("min_streams")
                .unwrap_or(ROLLBACK_MIN_STREAMS),
        }
    }
}
