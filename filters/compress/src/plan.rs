//! Which responses are compressed, and what becomes of their headers.

use filter_http::Headers;

use crate::config::Config;

/// What becomes of a response.
#[derive(Debug, PartialEq, Clone, Copy)]
pub(crate) enum Plan {
    /// It is none that is compressed for anybody.
    Leave,
    /// It would be compressed for a client that accepts that.
    Vary,
    Compress,
}

impl Config {
    /// Says what becomes of a response that has a body.
    pub(crate) fn plan(&self, response: &impl Headers, accepted: bool) -> Plan {
        let header = |name: &str| response.get(name).unwrap_or_default().to_ascii_lowercase();
        let content_type = header("content-type");
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let length = header("content-length").parse::<u64>().ok();
        let status = header(":status");
        let etag = header("etag");
        let strong_etag = !etag.is_empty() && !etag.starts_with("w/");
        let fits = self.content_types.iter().any(|own| own == media_type)
            && length.is_none_or(|length| length >= self.min_bytes)
            && header("content-encoding").is_empty()
            && !header("cache-control").contains("no-transform")
            // a part of a body is a part of the one that is not compressed
            && status != "206"
            // a filter cannot end a body once its trailers are there
            && header("trailer").is_empty()
            && !(self.keep_etags && strong_etag);
        match (fits, accepted) {
            (false, _) => Plan::Leave,
            (true, false) => Plan::Vary,
            (true, true) => Plan::Compress,
        }
    }
}

impl Plan {
    /// Changes the response's headers.
    pub(crate) fn apply(self, response: &impl Headers) {
        if self == Self::Leave {
            return;
        }
        let vary = vary(response.get("vary").as_deref());
        response.set("vary", Some(&vary));
        if self == Self::Compress {
            response.set("content-encoding", Some("gzip"));
            for name in [
                "content-length",
                "content-md5",
                "content-digest",
                "accept-ranges",
            ] {
                if response.get(name).is_some() {
                    response.set(name, None);
                }
            }
            // other bytes need another strong etag; nobody has one for these
            if response
                .get("etag")
                .is_some_and(|etag| !etag.starts_with("W/"))
            {
                response.set("etag", None);
            }
        }
    }
}

/// `vary` with `accept-encoding` in it.
fn vary(before: Option<&str>) -> String {
    let Some(before) = before.filter(|before| !before.trim().is_empty()) else {
        return "Accept-Encoding".to_owned();
    };
    let mut names = before.split(',').map(str::trim);
    match names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding")) {
        true => before.to_owned(),
        false => format!("{before}, Accept-Encoding"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    struct Map(RefCell<BTreeMap<String, String>>);

    impl Headers for Map {
        fn get(&self, name: &str) -> Option<String> {
            self.0.borrow().get(name).cloned()
        }

        fn set(&self, name: &str, value: Option<&str>) {
            let mut map = self.0.borrow_mut();
            match value {
                Some(value) => drop(map.insert(name.to_owned(), value.to_owned())),
                None => drop(map.remove(name)),
            }
        }
    }

    /// A response that is compressed, and one more header.
    fn response(name: &str, value: &str) -> Map {
        let pairs = [
            (":status", "200"),
            ("content-type", "text/html; charset=utf-8"),
            (name, value),
        ];
        let pairs = pairs.map(|(n, v)| (n.to_owned(), v.to_owned()));
        Map(RefCell::new(pairs.into()))
    }

    #[test]
    fn responses_are_chosen_by_their_headers() {
        let config = Config::default();
        for (name, value, expected) in [
            ("x", "", Plan::Compress),
            ("content-type", "image/png", Plan::Leave),
            ("content-length", "29", Plan::Leave),
            ("content-length", "30", Plan::Compress),
            ("content-encoding", "br", Plan::Leave),
            ("cache-control", "public, No-Transform", Plan::Leave),
            (":status", "206", Plan::Leave),
            ("trailer", "grpc-status", Plan::Leave),
            ("etag", "\"a\"", Plan::Compress),
        ] {
            let plan = config.plan(&response(name, value), true);
            assert_eq!(plan, expected, "{name}: {value}");
        }
        assert_eq!(config.plan(&response("x", ""), false), Plan::Vary);
    }

    #[test]
    fn strong_etags_can_keep_a_response_as_it_is() {
        let config = Config {
            keep_etags: true,
            ..Config::default()
        };
        assert_eq!(config.plan(&response("etag", "\"a\""), true), Plan::Leave);
        assert_eq!(
            config.plan(&response("etag", "W/\"a\""), true),
            Plan::Compress
        );
        assert_eq!(config.plan(&response("x", ""), true), Plan::Compress);
    }

    #[test]
    fn headers_tell_what_was_done() {
        for (etag, kept) in [("\"a\"", None), ("W/\"a\"", Some("W/\"a\""))] {
            let response = response("etag", etag);
            response.set("content-length", Some("100"));
            response.set("vary", Some("origin"));
            Plan::Compress.apply(&response);
            assert_eq!(response.get("content-encoding").as_deref(), Some("gzip"));
            assert_eq!(response.get("content-length"), None);
            assert_eq!(
                response.get("vary").as_deref(),
                Some("origin, Accept-Encoding")
            );
            assert_eq!(response.get("etag").as_deref(), kept);
        }
        let plain = response("etag", "\"a\"");
        Plan::Vary.apply(&plain);
        assert_eq!(plain.get("vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(plain.get("etag").as_deref(), Some("\"a\""));
    }
}
