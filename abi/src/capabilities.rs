//! [`Capabilities`]: the hostcalls and callbacks that a VM may have.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The hostcalls and callbacks that a VM may have, by their full names; all of
/// them by default (Envoy's `capability_restriction_config`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities(Option<Arc<BTreeSet<String>>>);

impl Capabilities {
    /// Those of `names` only; all of them when there is none.
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        let names: BTreeSet<_> = names.into_iter().collect();
        Self((!names.is_empty()).then(|| Arc::new(names)))
    }

    /// The names, in order; none where all are allowed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|names| names.iter()).map(|n| &**n)
    }

    /// Whether a VM may call `name`, or be called by it. What is no part of
    /// proxy-wasm or WASI cannot be restricted.
    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        let free = ["pthread_", "emscripten_", "envoy_"];
        match &self.0 {
            None => true,
            Some(names) => {
                names.contains(name) || free.iter().any(|prefix| name.starts_with(prefix))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_names_allow_everything() {
        let all = Capabilities::only([]);
        assert_eq!(all, Capabilities::default());
        assert!(all.allow("proxy_log") && all.allow("fd_write"));
        assert_eq!(all.names().count(), 0);
    }

    #[test]
    fn names_allow_themselves_and_what_cannot_be_restricted() {
        let some = Capabilities::only(["proxy_log".to_owned(), "proxy_on_log".to_owned()]);
        assert!(some.allow("proxy_log") && some.allow("proxy_on_log"));
        assert!(!some.allow("proxy_done") && !some.allow("fd_write"));
        assert!(some.allow("pthread_equal") && some.allow("emscripten_notify_memory_growth"));
        assert!(some.allow("envoy_resolve_dns"));
    }
}
