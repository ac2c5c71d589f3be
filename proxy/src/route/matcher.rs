//! Whether a request matches a route: path and headers.

use regex::bytes::Regex;
use weir_abi::HeaderMap;

use super::without_query;

/// The `match` of a route.
#[derive(Debug)]
pub(super) struct RouteMatcher {
    pub(super) path: PathMatcher,
    /// Any, if there are none.
    pub(super) methods: Vec<String>,
    pub(super) headers: Vec<HeaderMatcher>,
    pub(super) query: Vec<QueryMatcher>,
}

impl RouteMatcher {
    /// A request without a path is CONNECT.
    pub(super) fn matches(&self, path: Option<&[u8]>, request: &HeaderMap) -> bool {
        let method = |wanted: &String| request.get(b":method").is_some_and(|m| m == wanted);
        self.path.matches(path.map(without_query))
            && (self.methods.is_empty() || self.methods.iter().any(method))
            && self.headers.iter().all(|h| h.matches(request))
            && self
                .query
                .iter()
                .all(|q| q.matches(path.unwrap_or_default()))
    }
}

/// What a path without its query must be like.
#[derive(Debug)]
pub(super) enum PathMatcher {
    Text(TextMatcher),
    /// A prefix that ends at a slash or with the path.
    SeparatedPrefix {
        prefix: String,
        ignore_case: bool,
    },
    /// There is none.
    Connect,
}

impl PathMatcher {
    fn matches(&self, path: Option<&[u8]>) -> bool {
        let Some(path) = path else {
            return matches!(self, Self::Connect);
        };
        match self {
            Self::Connect => false,
            Self::Text(text) => text.matches(path),
            Self::SeparatedPrefix {
                prefix,
                ignore_case,
            } => {
                let (start, rest) = path.split_at(prefix.len().min(path.len()));
                (rest.is_empty() || rest[0] == b'/')
                    && equal(start, prefix.as_bytes(), *ignore_case)
            }
        }
    }

    /// How much of a path it matches.
    pub(super) fn matched(&self) -> Matched {
        match self {
            Self::SeparatedPrefix { prefix, .. } | Self::Text(TextMatcher::Prefix(prefix, _)) => {
                Matched::Bytes(prefix.len())
            }
            Self::Text(_) | Self::Connect => Matched::Whole,
        }
    }
}

/// How much of a path a route has matched, which a rewrite of the prefix
/// replaces.
#[derive(Debug, Clone, Copy)]
pub(super) enum Matched {
    Bytes(usize),
    /// All but the query.
    Whole,
}

impl Matched {
    pub(super) fn len(self, path: &[u8]) -> usize {
        match self {
            Self::Bytes(len) => len,
            Self::Whole => without_query(path).len(),
        }
    }
}

/// What a text must be like; the truth value ignores the case of ASCII letters.
#[derive(Debug)]
pub(crate) enum TextMatcher {
    Exact(String, bool),
    Prefix(String, bool),
    Suffix(String, bool),
    Contains(String, bool),
    /// Matches the text as a whole.
    Regex(Regex),
}

impl TextMatcher {
    /// # Errors
    /// A regular expression that is none.
    pub(crate) fn build(wanted: &weir_config::StringMatch) -> Result<Self, regex::Error> {
        use weir_config::TextMatcher as Wanted;
        let fold = wanted.ignore_case;
        Ok(match &wanted.matcher {
            Wanted::Exact(text) => Self::Exact(text.clone(), fold),
            Wanted::Prefix(text) => Self::Prefix(text.clone(), fold),
            Wanted::Suffix(text) => Self::Suffix(text.clone(), fold),
            Wanted::Contains(text) => Self::Contains(text.clone(), fold),
            Wanted::Regex(text) => Self::Regex(Regex::new(&whole(text))?),
        })
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(wanted, fold) => equal(text, wanted.as_bytes(), *fold),
            Self::Prefix(wanted, fold) => text
                .get(..wanted.len())
                .is_some_and(|start| equal(start, wanted.as_bytes(), *fold)),
            Self::Suffix(wanted, fold) => {
                let at = text.len().checked_sub(wanted.len());
                at.is_some_and(|at| equal(&text[at..], wanted.as_bytes(), *fold))
            }
            Self::Contains(wanted, fold) => {
                wanted.is_empty()
                    || text
                        .windows(wanted.len())
                        .any(|part| equal(part, wanted.as_bytes(), *fold))
            }
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// A regular expression that matches a text as a whole, as Envoy's do.
pub(super) fn whole(pattern: &str) -> String {
    format!(r"\A(?:{pattern})\z")
}

fn equal(a: &[u8], b: &[u8], ignore_case: bool) -> bool {
    if ignore_case {
        a.eq_ignore_ascii_case(b)
    } else {
        a == b
    }
}

/// What one header must be like.
#[derive(Debug)]
pub(crate) struct HeaderMatcher {
    /// Lower case; `host` as `:authority`.
    name: String,
    value: ValueMatcher,
    invert: bool,
    treat_missing_as_empty: bool,
}

#[derive(Debug)]
enum ValueMatcher {
    Present(bool),
    Text(TextMatcher),
    /// From the first up to, but not including, the second.
    Range(i64, i64),
}

impl ValueMatcher {
    /// Whether one value is as it must be.
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Present(wanted) => *wanted,
            Self::Text(text) => text.matches(value),
            Self::Range(start, end) => number(value).is_some_and(|n| (*start..*end).contains(&n)),
        }
    }
}

/// Of several values one must be so; inverted, none may.
impl HeaderMatcher {
    /// # Errors
    /// A regular expression that is none.
    pub(crate) fn build(wanted: &weir_config::HeaderMatch) -> Result<Self, regex::Error> {
        use weir_config::HeaderMatcher as Wanted;
        let name = wanted.name.to_ascii_lowercase();
        Ok(Self {
            value: match &wanted.matcher {
                Wanted::Present(present) => ValueMatcher::Present(*present),
                Wanted::Range { start, end } => ValueMatcher::Range(*start, *end),
                Wanted::Text(text) => ValueMatcher::Text(TextMatcher::build(text)?),
            },
            name: if name == "host" {
                ":authority".to_owned()
            } else {
                name
            },
            invert: wanted.invert,
            treat_missing_as_empty: wanted.treat_missing_as_empty,
        })
    }

    pub(crate) fn matches(&self, request: &HeaderMap) -> bool {
        let mut values = request.get_all(self.name.as_bytes()).peekable();
        let is_missing = values.peek().is_none();
        let holds = match &self.value {
            ValueMatcher::Present(wanted) => {
                (!is_missing || self.treat_missing_as_empty) == *wanted
            }
            _ if is_missing && !self.treat_missing_as_empty => return false,
            value if is_missing => value.holds(b""),
            value => values.any(|text| value.holds(text)),
        };
        holds != self.invert
    }
}

/// What one parameter of a query must be like.
#[derive(Debug)]
pub(super) struct QueryMatcher {
    pub(super) name: String,
    pub(super) value: QueryValue,
}

#[derive(Debug)]
pub(super) enum QueryValue {
    Present(bool),
    Text(TextMatcher),
}

/// As in Envoy, the first parameter of the name counts, as it stands in the path.
impl QueryMatcher {
    fn matches(&self, path: &[u8]) -> bool {
        let query = path.splitn(2, |b| *b == b'?').nth(1).unwrap_or_default();
        let query = query.split(|b| *b == b'#').next().unwrap_or_default();
        let mut pairs = query.split(|b| *b == b'&').filter(|pair| !pair.is_empty());
        let value = pairs.find_map(|pair| {
            let mut parts = pair.splitn(2, |b| *b == b'=');
            let named = parts.next() == Some(self.name.as_bytes());
            named.then(|| parts.next().unwrap_or_default())
        });
        match (&self.value, value) {
            (QueryValue::Present(wanted), value) => value.is_some() == *wanted,
            (QueryValue::Text(text), Some(value)) => text.matches(value),
            (QueryValue::Text(_), None) => false,
        }
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim_ascii().parse().ok()
}
