//! Every limit of the host, with its unit and reason.

use std::time::Duration;

/// Bytes of one serialised header map that a guest may hand over. Envoy's
/// limit; more decodes to an empty map there.
pub const PAIRS_BYTES_MAX: usize = 1 << 20;

/// Entries of one serialised header map that a guest may hand over. Envoy's
/// limit.
pub const PAIRS_COUNT_MAX: usize = 1024;

/// Bytes of one `random_get` call. Envoy's limit; `getrandom` callers loop.
pub const RANDOM_BYTES_MAX: usize = 65_536;

/// Scatter-gather entries of one `fd_write`. A guest that logs has one or two.
pub const IOVECS_MAX: u32 = 1024;

/// Frames of a guest's backtrace that a failure keeps; deeper ones say little
/// and a recursion would keep thousands.
pub const BACKTRACE_FRAMES_MAX: usize = 32;

/// Hostcalls that are counted apart: as many as a bit set of 128 holds, and more
/// than there are.
pub const HOSTCALLS_MAX: usize = 128;

/// Callouts that one VM may have under way, and may begin in one callback; settable: a
/// worker that asks somebody about each of its requests stays far below. Each
/// costs some kilobytes, also one that is cancelled until the callback ends.
pub const CALLOUTS_MAX: usize = 16_384;

/// Bytes of the requests of all calls that one VM has under way.
pub const CALLOUT_BYTES_MAX: usize = 64 << 20;

/// Entries of a header map that a guest may add to; codecs send far fewer.
pub const MAP_ENTRIES_MAX: usize = 4096;

/// Bytes of all names and values of a header map that a guest may add to; settable.
pub const MAP_BYTES_MAX: usize = 4 << 20;

/// Bytes up to which a guest may make a body grow within a callback. What it
/// holds afterwards has limits of its own, which are the proxy's.
pub const BODY_BYTES_MAX: usize = 256 << 20;

/// Segments of a property path; the longest that there is has five.
pub const PROPERTY_SEGMENTS_MAX: usize = 32;

/// Bytes of a metric's name. It is repeated in every scrape.
pub const METRIC_NAME_BYTES_MAX: usize = 4096;

/// Metrics that one VM may define; settable. A guest that defines one for each request
/// would grow without end.
pub const METRICS_MAX: usize = 4096;

/// Bytes of a line that a guest logs; settable. Longer ones are cut off: a line is
/// for a person.
pub const LOG_LINE_BYTES: usize = 16 << 10;

/// Bytes of a guest's last words that a failure keeps. A panic message is one
/// line.
pub const LAST_WORDS_MAX: usize = 1024;

/// Bytes of a module. The largest that toolchains make, with all of their names,
/// have some ten MiB; compiling takes a second for each few of them.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

/// Bytes of memory of one VM; settable. A filter of the Rust SDK has one or two
/// MiB, one of Go some ten.
pub const MEMORY_BYTES: usize = 128 << 20;

/// Bytes of the stack that a guest's calls use, beside the one in its memory.
pub const STACK_BYTES: usize = 1 << 20;

/// Elements of a table. The tables of large programs have some ten thousand.
pub const TABLE_ELEMENTS_MAX: u32 = 1 << 20;

/// Time that a callback of a stream may take; settable. Others wait meanwhile.
pub const CALLBACK_TIME: Duration = Duration::from_millis(100);

/// Time that start functions, `proxy_on_vm_start`, `proxy_on_configure` and
/// `proxy_on_tick` may take; settable.
pub const ROOT_CALLBACK_TIME: Duration = Duration::from_secs(2);

/// Bytes of shared data, keys and values, for one `vm_id`; settable.
pub const SHARED_DATA_BYTES: usize = 64 << 20;

/// Keys of shared data for one `vm_id`; settable. So many cost a hundred bytes
/// each beside what they hold.
pub const SHARED_DATA_ENTRIES: usize = 65_536;

/// Bytes in one shared queue; settable.
pub const SHARED_QUEUE_BYTES: usize = 16 << 20;

/// Items in one shared queue; settable.
pub const SHARED_QUEUE_ITEMS: usize = 65_536;

/// Shared queues of one `vm_id`; settable.
pub const SHARED_QUEUES: usize = 1024;

/// Bytes of the name of a foreign function; a longer one is the name of none.
pub const FOREIGN_NAME_MAX: usize = 256;

/// Bytes that `uncompress` may make of a stream. A thousandth of them can stand for
/// so many; Envoy has no limit here.
pub const UNCOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Properties that one context may declare. They are kept for its whole life.
pub const DECLARATIONS_MAX: usize = 1024;

/// Bytes of an expression. Filters' own have a hundred; parsing one takes stack and
/// time by its size.
pub const EXPRESSION_BYTES_MAX: usize = 4096;

/// Brackets, prefix operators and choices that may nest in an expression: the parser
/// calls itself for each.
pub const EXPRESSION_NESTING_MAX: usize = 32;

/// Depth of a parsed expression: evaluation calls itself for each level.
pub const EXPRESSION_DEPTH_MAX: usize = 100;

/// Macros over lists that may nest, and those that make lists in all: each may go
/// over as many items as the expression has room for.
pub const EXPRESSION_LOOPS_MAX: usize = 2;

/// Bytes of what an expression gives.
pub const EXPRESSION_RESULT_BYTES_MAX: usize = 4 << 20;

/// Expressions that one root context may keep.
pub const EXPRESSIONS_MAX: usize = 4096;
