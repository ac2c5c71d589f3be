//! Bounds on what is accepted and shown. None of them is a matter of taste of
//! the operator, so none is settable.

use std::time::Duration;

use crate::read::ByteSize;

/// Bytes of a configuration file: room for a large module inlined as base64,
/// and still read in an instant.
pub(crate) const MAX_SOURCE_BYTES: usize = 16 << 20;

/// Mappings and lists inside one another; deeper files are mistakes or attacks
/// on the stack. The deepest key that Weir itself reads is at 12.
pub(crate) const MAX_NESTING: usize = 64;

/// Values in a file after its aliases are expanded, against "billion laughs".
pub(crate) const MAX_NODES: usize = 200_000;

/// Bytes of text that aliases may add; see [`MAX_NODES`].
pub(crate) const MAX_ALIASED_BYTES: usize = 16 << 20;

/// Errors reported in one go; nobody reads more, and a hostile file has them
/// by the million.
pub(crate) const MAX_ERRORS: usize = 100;

/// Characters of a source line that a plain report shows.
pub(crate) const MAX_SHOWN_LINE: usize = 160;

/// Characters of a wrong value that a message repeats.
pub(crate) const MAX_SHOWN_VALUE: usize = 40;

/// `workers`: more threads than any machine has cores are a typing error.
pub(crate) const MAX_WORKERS: usize = 1024;

/// The longest duration: larger ones are typing errors, and timers compute
/// with the sum of two.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The shortest time limit of callbacks: what is shorter is not measured well.
pub(crate) const MIN_CALLBACK_TIME: Duration = Duration::from_millis(1);

/// The smallest `compile_cache.max_size`: less has room for hardly one module.
pub(crate) const MIN_COMPILE_CACHE_SIZE: ByteSize = ByteSize(1 << 20);

/// The smallest `base_interval` of a backoff, as Envoy validates it.
pub(crate) const MIN_BACKOFF: Duration = Duration::from_millis(1);

/// `num_retries` of code: a reload that waits longer than that helps nobody.
pub(crate) const MAX_FETCH_RETRIES: u32 = 10;
