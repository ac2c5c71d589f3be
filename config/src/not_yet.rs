//! What has a meaning in Envoy or in Weir's design and is not served yet.
//!
//! Ignoring such a key would give somebody less than they asked for without a
//! word, so each is an error. Serving one means removing its variant here.

use crate::error::Problem;
use crate::source::Span;

/// A feature that is refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotYet {
    /// `code.local.watched_directory`
    WatchedDirectory,
    /// A host name in place of an IP address
    HostNames,
}

impl NotYet {
    pub(crate) fn problem(self, span: Span) -> Problem {
        let (feature, help) = self.words();
        Problem::new(span, format!("not supported yet: {feature}")).help(help)
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::WatchedDirectory => (
                "watching a directory for new filter code",
                "remove `watched_directory`",
            ),
            Self::HostNames => (
                "host names in addresses",
                "write an IP address, such as `127.0.0.1:8080`",
            ),
        }
    }
}
