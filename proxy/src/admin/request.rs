//! [`Request`]: what is asked of the admin.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use weir_abi::HeaderMap;

/// Whether something is read or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// GET or HEAD.
    Get,
    Post,
    Other,
}

/// What is asked of the admin.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    /// Names and values, in order; a name alone has an empty value.
    pub(super) parameters: Vec<(String, String)>,
    /// A browser asks for a page.
    pub(super) wants_html: bool,
}

impl Request {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &[u8]| {
            headers
                .get(name)
                .map_or(Cow::Borrowed(""), |v| String::from_utf8_lossy(v))
        };
        let target = text(b":path");
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        let parameters = query.split('&').filter(|part| !part.is_empty());
        Self {
            method: match &*text(b":method") {
                "GET" | "HEAD" => Method::Get,
                "POST" => Method::Post,
                _ => Method::Other,
            },
            path: path.to_owned(),
            parameters: parameters.map(parameter).collect(),
            wants_html: text(b"accept").contains("text/html"),
        }
    }

    /// The value of a parameter; an empty one if it has none.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is there, with whatever value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.parameter(name).is_some()
    }
}

/// As in a path: a plus is a plus, which regular expressions need.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_parameters_are_told_apart() {
        let head: HeaderMap = [
            (":method", "HEAD"),
            (":path", "/stats?usedonly&filter=a%2Bb+%26&x=1=2&"),
            ("accept", "text/html,*/*"),
        ]
        .into_iter()
        .collect();
        let request = Request::of(&head);
        assert_eq!((request.method, &*request.path), (Method::Get, "/stats"));
        assert!(request.wants_html && request.has("usedonly") && !request.has("none"));
        assert_eq!(request.parameter("filter"), Some("a+b+&"));
        assert_eq!(request.parameter("x"), Some("1=2"));
    }
}
