//! [`Suite`]: a file of tests, read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use regex::bytes::Regex;
use weir_abi::{HeaderMap, LogLevel};
use weir_config::{ConfigError, ConfigErrors, Document, Source, Span};

use super::input;
use super::locate::Places;
use super::message::Located;
use super::{textproto, yaml};
use crate::fields::{self, Read};
use crate::suite;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Protobuf's text form.
    Text,
    Yaml,
}

/// What the command line says in place of a suite's `env`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) plugin: Option<PathBuf>,
    pub(crate) configuration: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_level: Option<LogLevel>,
}

/// A file of tests.
pub(crate) struct Suite {
    source: Arc<Source>,
    /// The module, and the place that names it.
    pub(crate) plugin: Option<(PathBuf, Span)>,
    pub(crate) configuration: Option<(PathBuf, Span)>,
    pub(super) log: Option<PathBuf>,
    pub(super) log_level: LogLevel,
    pub(super) now: Duration,
    pub(super) additional_streams: usize,
    pub(super) advance_rate: usize,
    pub(super) tests: Vec<Test>,
}

/// One test; `body` is what is wrong with it, or what it does.
pub(super) struct Test {
    pub(super) name: String,
    pub(super) span: Span,
    pub(super) benchmark: bool,
    pub(super) body: Result<Steps, ConfigErrors>,
}

/// What a test does.
pub(super) struct Steps {
    pub(super) plugin_init: Expectation,
    pub(super) stream_init: Expectation,
    pub(super) request_headers: Option<(HeaderMap, Expectation)>,
    pub(super) request_body: Vec<(Vec<Bytes>, Expectation)>,
    pub(super) response_headers: Option<(HeaderMap, Expectation)>,
    pub(super) response_body: Vec<(Vec<Bytes>, Expectation)>,
    pub(super) stream_destroy: Expectation,
    pub(super) properties: Vec<(String, Bytes)>,
}

/// What is expected of a phase.
#[derive(Default)]
pub(super) struct Expectation {
    pub(super) has_header: Vec<(String, Bytes, Span)>,
    pub(super) no_header: Vec<(String, Span)>,
    pub(super) headers: Vec<StringMatcher>,
    pub(super) body: Vec<StringMatcher>,
    pub(super) immediate: Option<Immediate>,
    pub(super) log: Vec<StringMatcher>,
    /// The expectation, or the phase where there is none.
    pub(super) span: Span,
}

/// A filter's own answer.
pub(super) struct Immediate {
    pub(super) http_status: Option<(u32, Span)>,
    pub(super) grpc_status: Option<(u32, Span)>,
    pub(super) details: Option<(String, Span)>,
    pub(super) span: Span,
}

/// What some string is, or with `invert` none.
pub(super) struct StringMatcher {
    pub(super) invert: bool,
    pub(super) rule: Rule,
    pub(super) span: Span,
}

pub(super) enum Rule {
    Exact(Bytes),
    Regex(Regex),
}

impl StringMatcher {
    /// Whether it holds for the strings together.
    pub(super) fn holds(&self, strings: &[Vec<u8>]) -> bool {
        let found = strings.iter().any(|string| match &self.rule {
            Rule::Exact(exact) => string == exact,
            Rule::Regex(regex) => regex.is_match(string),
        });
        found != self.invert
    }
}

/// Into how many pieces a body comes.
#[derive(Clone, Copy)]
enum Chunks {
    Number(usize),
    Size(usize),
}

impl Chunks {
    /// The pieces of `body`. A number of them makes each as long, and the last takes
    /// what is left.
    fn of(self, body: &Bytes) -> Vec<Bytes> {
        let (size, max) = match self {
            Self::Number(number) => (body.len() / number, number),
            Self::Size(size) => (size, usize::MAX),
        };
        let mut pieces = Vec::new();
        let mut rest = body.clone();
        while pieces.len() + 1 < max && rest.len() > size {
            pieces.push(rest.split_to(size));
        }
        pieces.push(rest);
        pieces
    }
}

/// The messages.
fn descriptor() -> Result<MessageDescriptor, String> {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/plugin_tester.bin"));
    let pool = DescriptorPool::decode(&bytes[..]).map_err(|error| error.to_string())?;
    let name = "service_extensions_samples.pb.TestSuite";
    pool.get_message_by_name(name)
        .ok_or_else(|| format!("no message {name}"))
}

/// Reads parts of a suite.
struct Reader<'s> {
    source: &'s Arc<Source>,
    places: &'s Places,
    folder: &'s Path,
}

impl Suite {
    /// Reads `text`; paths in it stand beside `path`.
    pub(crate) fn read(path: &Path, text: &str, form: Form, overrides: &Overrides) -> Read<Self> {
        let name = path.display().to_string();
        let source = Arc::new(Source::new(&name, text));
        let whole = |message: String| ConfigError::at(&source, Span::default(), message);
        let descriptor = descriptor().map_err(whole)?;
        let (message, places) = match form {
            Form::Text => textproto::read(descriptor, text)
                .map_err(|(span, message)| ConfigError::at(&source, span, message))?,
            Form::Yaml => yaml::read(&descriptor, Document::parse(&name, text)?.root())?,
        };
        let suite = Located::root(message);
        let folder = fields::folder(path);
        let reader = Reader {
            source: &source,
            places: &places,
            folder: &folder,
        };
        let env = suite.message("env");
        let text = |field: &str| env.as_ref().and_then(|env| env.text(field));
        let number = |field: &str| env.as_ref().and_then(|env| env.number(field));
        let file = |given: &Option<PathBuf>, field: &str| {
            let at = env.as_ref().map(|env| places.of(&env.path_of(field, 0)));
            let given = given.clone().map(|path| (path, Span::default()));
            given.or_else(|| Some((folder.join(text(field)?), at?)))
        };
        let count = |field: &str| {
            let number = number(field).and_then(|n| usize::try_from(n).ok());
            number.unwrap_or(0)
        };
        let level = number("log_level").and_then(|level| u32::try_from(level - 1).ok());
        let level = overrides.log_level.or_else(|| LogLevel::from_wire(level?));
        let seconds = number("time_secs").and_then(|n| u64::try_from(n).ok());
        let tests = suite.messages("test");
        let tests = tests.iter().map(|test| reader.test(test)).collect();
        Ok(Self {
            plugin: file(&overrides.plugin, "wasm_path"),
            configuration: file(&overrides.configuration, "config_path"),
            log: file(&overrides.log, "log_path").map(|(path, _)| path),
            log_level: level.unwrap_or(LogLevel::Info),
            now: seconds
                .filter(|s| *s > 0)
                .map_or(START, Duration::from_secs),
            additional_streams: count("num_additional_streams"),
            advance_rate: match count("additional_stream_advance_rate") {
                0 => ADVANCE_RATE,
                rate => rate,
            },
            tests,
            source,
        })
    }

    /// An error at a place of the suite.
    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> ConfigError {
        ConfigError::at(&self.source, span, message)
    }

    /// `FILE:LINE:COLUMN` of a place.
    pub(super) fn place(&self, span: Span) -> String {
        let at = self.source.position(span.start);
        format!("{}:{}:{}", self.source.name(), at.line, at.column)
    }
}

/// The time at which all clocks stand unless a suite says otherwise.
const START: Duration = Duration::from_millis(1);

/// Streams beside the measured one that go on in each round, unless a suite says
/// otherwise.
const ADVANCE_RATE: usize = 3;

impl Reader<'_> {
    fn error(&self, path: &str, message: impl Into<String>) -> ConfigErrors {
        ConfigError::at(self.source, self.places.of(path), message).into()
    }

    fn file(&self, message: &Located, field: &str) -> Read<Option<Bytes>> {
        let Some(name) = message.text(field).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let path = self.folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) => {
                let text = format!("cannot read {}: {error}", path.display());
                Err(self.error(&message.path_of(field, 0), text))
            }
        }
    }

    fn test(&self, test: &Located) -> Test {
        Test {
            name: test.text("name").unwrap_or_default(),
            span: self.places.of(&test.path),
            benchmark: test.flag("benchmark"),
            body: self.steps(test),
        }
    }

    fn steps(&self, test: &Located) -> Read<Steps> {
        let alone = |field: &str| {
            let message = test.message(field);
            let span = self.places.of(&test.path_of(field, 0));
            self.expectation(message.as_ref(), span)
        };
        let chunks = self.chunks(test)?;
        let properties = test.messages("properties").into_iter().map(|property| {
            let path = property.text("path").unwrap_or_default();
            (path, property.bytes("value").unwrap_or_default())
        });
        Ok(Steps {
            plugin_init: alone("plugin_init")?,
            stream_init: alone("stream_init")?,
            request_headers: self.headers(test, "request_headers", true)?,
            request_body: self.bodies(test, "request_body", chunks)?,
            response_headers: self.headers(test, "response_headers", false)?,
            response_body: self.bodies(test, "response_body", chunks)?,
            stream_destroy: alone("stream_destroy")?,
            properties: properties.collect(),
        })
    }

    fn chunks(&self, test: &Located) -> Read<Option<Chunks>> {
        for (field, chunks) in [
            ("num_chunks", Chunks::Number as fn(usize) -> Chunks),
            ("chunk_size", Chunks::Size),
        ] {
            let Some(number) = test.number(field) else {
                continue;
            };
            let number = usize::try_from(number).ok().filter(|number| *number > 0);
            let Some(number) = number else {
                let text = format!("`{field}` has to be at least 1");
                return Err(self.error(&test.path_of(field, 0), text));
            };
            return Ok(Some(chunks(number)));
        }
        Ok(None)
    }

    fn headers(
        &self,
        test: &Located,
        field: &str,
        is_request: bool,
    ) -> Read<Option<(HeaderMap, Expectation)>> {
        let Some(invocation) = test.message(field) else {
            return Ok(None);
        };
        let mut map = HeaderMap::sorted();
        if let Some(input) = invocation.message("input") {
            let text = match self.file(&input, "file")? {
                Some(file) => Some(("file", file)),
                None => input.bytes("content").map(|content| ("content", content)),
            };
            match text.filter(|(_, text)| !text.is_empty()) {
                Some((field, text)) => {
                    map = input::http1(&text, is_request)
                        .map_err(|message| self.error(&input.path_of(field, 0), message))?;
                }
                None => {
                    for header in input.messages("header") {
                        let key = header.text("key").unwrap_or_default();
                        map.add(key, header.bytes("value").unwrap_or_default());
                    }
                }
            }
        }
        let expectation = self.result(&invocation)?;
        Ok(Some((map, expectation)))
    }

    fn bodies(
        &self,
        test: &Located,
        field: &str,
        chunks: Option<Chunks>,
    ) -> Read<Vec<(Vec<Bytes>, Expectation)>> {
        let invocations = test.messages(field);
        if chunks.is_some() && invocations.len() > 1 {
            let text = "`num_chunks` and `chunk_size` go with one body only";
            return Err(self.error(&test.path_of(field, 1), text));
        }
        let invocation = |invocation: &Located| {
            let mut body = Bytes::new();
            if let Some(input) = invocation.message("input") {
                body = match self.file(&input, "file")? {
                    Some(file) => file,
                    None => input.bytes("content").unwrap_or_default(),
                };
            }
            let pieces = chunks.map_or_else(|| vec![body.clone()], |chunks| chunks.of(&body));
            Ok((pieces, self.result(invocation)?))
        };
        invocations.iter().map(invocation).collect()
    }

    fn result(&self, invocation: &Located) -> Read<Expectation> {
        let result = invocation.message("result");
        self.expectation(result.as_ref(), self.places.of(&invocation.path))
    }

    fn expectation(&self, message: Option<&Located>, phase: Span) -> Read<Expectation> {
        let Some(message) = message else {
            return Ok(Expectation {
                span: phase,
                ..Expectation::default()
            });
        };
        let key = |header: &Located| match header.text("key").filter(|key| !key.is_empty()) {
            Some(key) => Ok((key.to_ascii_lowercase(), self.places.of(&header.path))),
            None => Err(self.error(&header.path, "a header needs a `key`")),
        };
        let has_header = message.messages("has_header").into_iter().map(|header| {
            let (key, span) = key(&header)?;
            Ok((key, header.bytes("value").unwrap_or_default(), span))
        });
        let matchers = |field: &str| {
            let matchers = message.messages(field).into_iter();
            matchers.map(|m| self.matcher(&m)).collect::<Read<Vec<_>>>()
        };
        Ok(Expectation {
            has_header: has_header.collect::<Read<_>>()?,
            no_header: message
                .messages("no_header")
                .iter()
                .map(key)
                .collect::<Read<_>>()?,
            headers: matchers("headers")?,
            body: matchers("body")?,
            immediate: message.message("immediate").map(|i| self.immediate(&i)),
            log: matchers("log")?,
            span: self.places.of(&message.path),
        })
    }

    fn immediate(&self, immediate: &Located) -> Immediate {
        let at = |field: &str| self.places.of(&immediate.path_of(field, 0));
        let number = |field: &str| {
            let number = u32::try_from(immediate.number(field)?).ok()?;
            Some((number, at(field)))
        };
        Immediate {
            http_status: number("http_status"),
            grpc_status: number("grpc_status"),
            details: immediate.text("details").map(|text| (text, at("details"))),
            span: self.places.of(&immediate.path),
        }
    }

    fn matcher(&self, matcher: &Located) -> Read<StringMatcher> {
        let rule = if let Some(exact) = matcher.bytes("exact") {
            Rule::Exact(exact)
        } else if let Some(text) = matcher.text("regex") {
            let regex = suite::regex(&text);
            let at = |message| self.error(&matcher.path_of("regex", 0), message);
            Rule::Regex(regex.map_err(at)?)
        } else if matcher.has("file") {
            Rule::Exact(self.file(matcher, "file")?.unwrap_or_default())
        } else {
            let text = "a matcher has one of `exact`, `regex` and `file`";
            return Err(self.error(&matcher.path, text));
        };
        Ok(StringMatcher {
            invert: matcher.flag("invert"),
            rule,
            span: self.places.of(&matcher.path),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_chunks_leaves_the_rest_to_the_last() {
        let pieces = |chunks: Chunks, body: &str| {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let pieces = chunks.of(&body).into_iter();
            pieces
                .map(|p| String::from_utf8(p.to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(pieces(Chunks::Number(3), "abcdefgh"), ["ab", "cd", "efgh"]);
        assert_eq!(pieces(Chunks::Number(1), "abc"), ["abc"]);
        assert_eq!(pieces(Chunks::Number(3), "ab"), ["", "", "ab"]);
        assert_eq!(pieces(Chunks::Size(3), "abcdefgh"), ["abc", "def", "gh"]);
        assert_eq!(pieces(Chunks::Size(4), "abcdefgh"), ["abcd", "efgh"]);
        assert_eq!(pieces(Chunks::Size(3), ""), [""]);
    }
}
