//! `limits` of a `wasm` block.

use std::time::Duration;

use crate::error::Problem;
use crate::limits::MIN_CALLBACK_TIME;
use crate::problems::Problems;
use crate::read::{Block, ByteSize, Fields, FromYaml, words};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`limits`",
    keys: &[
        ("callback", "10ms"),
        ("root_callback", "2s"),
        ("stream", "1s"),
        ("deadline", "counter"),
        ("memory", "64MiB"),
        ("callouts", "16384"),
        ("metrics", "4096"),
        ("header_bytes", "4MiB"),
        ("log_lines", "1000"),
        ("log_line_bytes", "16KiB"),
        ("recycle_above", "96MiB"),
        ("recycle_after", "1000000"),
        ("shared_data", "{ bytes: 64MiB }"),
        ("shared_queues", "{ items: 65536 }"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static SHARED_DATA_BLOCK: Block = Block {
    name: "`shared_data`",
    keys: &[
        ("bytes", "64MiB"),
        ("entries", "65536"),
        ("eviction", "lru"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static SHARED_QUEUES_BLOCK: Block = Block {
    name: "`shared_queues`",
    keys: &[("bytes", "16MiB"), ("items", "65536"), ("queues", "1024")],
    not_yet: &[],
    hints: &[],
};

/// `limits`: Weir's own addition to the `wasm` block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// `callback`: time that one callback may take, at least 1ms; 0 for as long as
    /// it likes. Default: 100ms.
    pub callback: Option<Duration>,
    /// `root_callback`: time that each start function, `proxy_on_vm_start`,
    /// `proxy_on_configure` and `proxy_on_tick` may take; as `callback`. Default:
    /// 2s.
    pub root_callback: Option<Duration>,
    /// `stream`: time that all callbacks of one stream may take together; as
    /// `callback`. Default: none.
    pub stream: Option<Duration>,
    /// `deadline`: how a callback that takes too long is found out.
    pub deadline: DeadlineKind,
    /// `memory`: bytes of linear memory of the VM. Default: 128MiB.
    pub memory: Option<ByteSize>,
    /// `callouts`: calls of its own that the VM may have under way. Default: 16384.
    pub callouts: Option<usize>,
    /// `metrics`: metrics that the VM may define. Default: 4096.
    pub metrics: Option<usize>,
    /// `header_bytes`: bytes of a header map that the filter may add to. Default:
    /// 4MiB.
    pub header_bytes: Option<ByteSize>,
    /// `log_lines`: lines that the VM may log in a second. Default: 1000.
    pub log_lines: Option<u32>,
    /// `log_line_bytes`: bytes of one line; the rest of it is cut off. Default:
    /// 16KiB.
    pub log_line_bytes: Option<ByteSize>,
    /// `recycle_above`: bytes of linear memory above which another VM takes the
    /// place of this one, whose streams end in it. Default: none.
    pub recycle_above: Option<ByteSize>,
    /// `recycle_after`: streams after which it does. Default: none.
    pub recycle_after: Option<u32>,
    /// `shared_data`: what may be kept for the `vm_id`.
    pub shared_data: Option<Spanned<SharedDataLimits>>,
    /// `shared_queues`: what may wait in queues of the `vm_id`.
    pub shared_queues: Option<Spanned<SharedQueueLimits>>,
}

/// `deadline`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeadlineKind {
    /// `watchdog`: another thread interrupts it; costs the filter nothing. Only
    /// on x86-64 Linux; elsewhere it is [`DeadlineKind::Counter`].
    #[default]
    Watchdog,
    /// `counter`: a counter in its code.
    Counter,
    /// `off`: not at all.
    Off,
}

words! {
    DeadlineKind, "a kind of deadline",
    "watchdog" => Self::Watchdog,
    "counter" => Self::Counter,
    "off" => Self::Off,
}

/// `shared_data`: what filters of one `vm_id` may keep together. What is left
/// out has the proxy's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedDataLimits {
    /// `bytes`: of all keys and values.
    pub bytes: Option<ByteSize>,
    /// `entries`: number of keys.
    pub entries: Option<usize>,
    /// `eviction`: what makes room when a limit is reached. Default: nothing.
    pub eviction: SharedDataEviction,
}

/// `eviction`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SharedDataEviction {
    /// `none`: what does not fit is refused.
    #[default]
    None,
    /// `lru`: what was neither read nor written for the longest time goes.
    Lru,
    /// `oldest`: what was not written for the longest time goes.
    Oldest,
}

words! {
    SharedDataEviction, "a way of eviction",
    "none" => Self::None,
    "lru" => Self::Lru,
    "oldest" => Self::Oldest,
}

/// `shared_queues`: what filters of one `vm_id` may have waiting. What is left
/// out has the proxy's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedQueueLimits {
    /// `bytes`: in one queue.
    pub bytes: Option<ByteSize>,
    /// `items`: in one queue.
    pub items: Option<usize>,
    /// `queues`: number of queues.
    pub queues: Option<usize>,
}

/// A time limit: 0, or long enough to be kept.
fn time(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Duration> {
    let limit = fields.valid::<Duration>(key)?;
    if !limit.is_zero() && limit.value < MIN_CALLBACK_TIME {
        let problem = Problem::new(limit.span, format!("`{key}` is less than 1ms"));
        let help = "0 stands for no limit";
        fields.problems.push(problem.help(help));
    }
    Some(limit.value)
}

impl FromYaml for Limits {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            callback: time(&mut fields, "callback"),
            root_callback: time(&mut fields, "root_callback"),
            stream: time(&mut fields, "stream"),
            deadline: fields.optional("deadline").unwrap_or_default(),
            memory: fields.optional("memory"),
            callouts: fields.optional("callouts"),
            metrics: fields.optional("metrics"),
            header_bytes: fields.optional("header_bytes"),
            log_lines: fields.optional("log_lines"),
            log_line_bytes: fields.optional("log_line_bytes"),
            recycle_above: fields.optional("recycle_above"),
            recycle_after: fields.optional("recycle_after"),
            shared_data: fields.optional("shared_data"),
            shared_queues: fields.optional("shared_queues"),
        }
    }
}

impl FromYaml for SharedDataLimits {
    const EXPECTED: &'static str = SHARED_DATA_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = SHARED_DATA_BLOCK.open(node, problems);
        Self {
            bytes: fields.optional("bytes"),
            entries: fields.optional("entries"),
            eviction: fields.optional("eviction").unwrap_or_default(),
        }
    }
}

impl FromYaml for SharedQueueLimits {
    const EXPECTED: &'static str = SHARED_QUEUES_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = SHARED_QUEUES_BLOCK.open(node, problems);
        Self {
            bytes: fields.optional("bytes"),
            items: fields.optional("items"),
            queues: fields.optional("queues"),
        }
    }
}
