//! A filter of Weir's own in a listener's chain.

use crate::error::Problem;
use crate::problems::Problems;
use crate::rbac::Rbac;
use crate::source::Spanned;

/// `http_filters[]`, `network_filters[]`: a filter of Weir's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeFilter {
    /// `name`: unique in its listener, among all filters; for routes. Required.
    pub name: Spanned<String>,
    /// How many filters with `wasm` stand in front of it.
    pub place: usize,
    /// What it does.
    pub kind: Native,
}

/// What a filter of Weir's own does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Native {
    /// `rbac`: lets through what its policies say.
    Rbac(Box<Rbac>),
    /// `cors: true`: the place at which the `cors` of routes is looked at; in
    /// `http_filters` only, once. Default: in front of all filters.
    Cors,
}

impl NativeFilter {
    /// Its policies, if it has any.
    pub fn rbac(&self) -> Option<&Rbac> {
        match &self.kind {
            Native::Rbac(rbac) => Some(rbac),
            Native::Cors => None,
        }
    }

    /// Notes what a filter of requests cannot have.
    pub(crate) fn check_of_requests(&self, problems: &mut Problems) {
        let prefix = self.rbac().and_then(|rbac| rbac.stat_prefix.as_ref());
        if let Some(prefix) = prefix {
            let message = "`stat_prefix` has no effect on requests";
            let help = "their metrics are named after the listener; \
                        `rules_stat_prefix` tells filters of one listener apart";
            problems.push(Problem::new(prefix.span, message).help(help));
        }
    }

    /// Notes what a filter of connections cannot have.
    pub(crate) fn check_of_connections(&self, problems: &mut Problems) {
        match &self.kind {
            Native::Cors => {
                let message = "`cors` is not for connections";
                let problem = Problem::new(self.name.span, message);
                problems.push(problem.help("it stands in `http_filters`"));
            }
            Native::Rbac(rbac) => {
                if let Some(what) = rbac.asks_for_request() {
                    let name = &self.name.value;
                    let message =
                        format!("filter `{name}` is for connections, which have no `{what}`");
                    let problem = Problem::new(self.name.span, message);
                    problems.push(problem.help("put it into `http_filters`"));
                }
            }
        }
    }
}
