//! The words of an operation behind its name.

use crate::pairs;
use crate::state::State;
use crate::text::decode;

/// The rest of an operation's words.
pub struct Arguments<'a> {
    pub context: u32,
    pub words: std::slice::Iter<'a, String>,
}

impl Arguments<'_> {
    pub fn word(&mut self) -> &str {
        self.words.next().map_or("-", String::as_str)
    }

    /// The bytes of a word, or `$last` for those that a foreign function gave last.
    pub fn bytes(&mut self) -> Vec<u8> {
        match self.word() {
            "$last" => State::last_bytes(),
            word => decode(word),
        }
    }

    /// A number, `max`, or `last` for what a hostcall gave last.
    pub fn number(&mut self) -> i64 {
        match self.word() {
            "max" => u32::MAX.into(),
            "last" => State::last().into(),
            word => word.parse().unwrap_or(0),
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn u32(&mut self) -> u32 {
        self.number() as u32
    }

    pub fn size(&mut self) -> usize {
        self.u32() as usize
    }

    pub fn one_of(&mut self, names: &[&str]) -> u32 {
        let word = self.word();
        let position = names.iter().position(|name| *name == word);
        position.map_or_else(|| word.parse().unwrap_or(99), |at| at as u32)
    }

    pub fn map(&mut self) -> u32 {
        self.one_of(&[
            "request",
            "request_trailers",
            "response",
            "response_trailers",
            "grpc_initial",
            "grpc_trailing",
            "call",
            "call_trailers",
        ])
    }

    pub fn buffer(&mut self) -> u32 {
        self.one_of(&[
            "request",
            "response",
            "downstream",
            "upstream",
            "call",
            "grpc",
            "vm_configuration",
            "configuration",
            "call_data",
        ])
    }

    pub fn stream(&mut self) -> u32 {
        self.one_of(&["request", "response", "downstream", "upstream"])
    }

    /// `a=1;b=2` as serialised pairs.
    pub fn pairs(&mut self) -> Vec<u8> {
        match self.word() {
            "-" => Vec::new(),
            word => pairs::encode(word),
        }
    }

    /// A dotted path, with NUL for dots; as it is if it has an escape.
    pub fn path(&mut self) -> Vec<u8> {
        let word = self.word();
        if word.contains('%') {
            decode(word)
        } else {
            word.replace('.', "\0").into_bytes()
        }
    }

    /// The live stream contexts by `oldest` and `newest`, `root`, `self`, or a number.
    pub fn context(&mut self) -> u32 {
        let streams = State::streams();
        match self.word() {
            "oldest" => streams.first().copied().unwrap_or(0),
            "newest" => streams.last().copied().unwrap_or(0),
            "root" => State::root(self.context),
            "self" => self.context,
            word => word.parse().unwrap_or(0),
        }
    }
}
