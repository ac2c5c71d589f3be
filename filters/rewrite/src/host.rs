//! What a request says, behind a trait that tests can do without a host.

use std::collections::BTreeMap;

use filter_http::{Headers, Request, cookie, query};
use proxy_wasm::hostcalls;

/// Where the values of templates come from.
pub(crate) trait Values {
    fn header(&self, name: &str) -> Option<String>;
    /// A property's text, by its path.
    fn property(&self, path: &[&str]) -> Option<String>;

    fn path(&self) -> String {
        self.header(":path").unwrap_or_default()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        query::get(&self.path(), name)
    }

    fn cookie(&self, name: &str) -> Option<String> {
        cookie::get(&self.header("cookie")?, name).map(str::to_owned)
    }
}

/// The request of the stream at hand.
pub(crate) struct Host;

impl Values for Host {
    fn header(&self, name: &str) -> Option<String> {
        Request.get(name)
    }

    fn property(&self, path: &[&str]) -> Option<String> {
        let value = hostcalls::get_property(path.to_vec()).ok().flatten()?;
        String::from_utf8(value).ok()
    }
}

/// What a rule's pattern has found in the path, by name and by number.
pub(crate) type Captures = BTreeMap<String, String>;
