//! Values in shared data that several workers change.

use proxy_wasm::hostcalls;

/// Stands for no value at all: it never is the number of one before four billion
/// values were set. A set with it fails once somebody has set the key, where one
/// without a number would overwrite that.
const NO_VALUE: u32 = u32::MAX;

/// What is kept under a key.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    read(key).0
}

/// Changes what is kept under a key: `step` makes of it what is to be kept, or nothing
/// if it is to stay, and a result. Each round that is lost was won by another worker.
pub fn update<R>(key: &str, mut step: impl FnMut(Option<&[u8]>) -> (Option<Vec<u8>>, R)) -> R {
    loop {
        let (kept, cas) = read(key);
        let (changed, result) = step(kept.as_deref());
        let Some(changed) = changed else {
            return result;
        };
        let cas = Some(cas.unwrap_or(NO_VALUE));
        if hostcalls::set_shared_data(key, Some(&changed), cas).is_ok() {
            return result;
        }
    }
}

fn read(key: &str) -> (Option<Vec<u8>>, Option<u32>) {
    hostcalls::get_shared_data(key).unwrap_or_default()
}
