//! Runs the rules over a body that comes in chunks.
//!
//! The scanner walks through the body and at each place tries the rules that can
//! match there, in the order of the configuration. When a rule needs bytes that
//! have not arrived, everything from that place on is withheld until they have:
//! at most the longest literal, or some 400 bytes for an e-mail address. So the
//! output is the same however the body is cut into chunks.

use std::mem;
use std::rc::Rc;

use crate::pattern::{Match, Undecided, Window, is_word, token_char};
use crate::rules::{Replacement, Rules};

#[derive(Debug)]
pub(crate) struct Scanner {
    rules: Rc<Rules>,
    state: State,
    /// The byte in front of the withheld ones.
    before: Option<u8>,
    withheld: Vec<u8>,
    redactions: u64,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Text,
    /// An escape sequence of which so many bytes are left: no word begins here.
    Escape {
        left: usize,
    },
    /// The first byte behind an escape sequence: a word may begin here, though the
    /// byte in front may be a letter.
    EscapeEnded,
    /// A token whose beginning has been replaced: the rest of it is dropped.
    Token,
}

impl Match {
    const fn state_behind(&self) -> State {
        if self.open { State::Token } else { State::Text }
    }
}

/// What becomes of the bytes at the current place.
enum Step<'a> {
    Pass(usize, State),
    Redact(Match, &'a Replacement),
    Drop(usize),
}

impl Scanner {
    pub(crate) const fn new(rules: Rc<Rules>) -> Self {
        Self {
            rules,
            state: State::Text,
            before: None,
            withheld: Vec::new(),
            redactions: 0,
        }
    }

    /// Takes the next chunk and appends to `output` what is decided by it.
    pub(crate) fn push(&mut self, chunk: &[u8], output: &mut Vec<u8>) {
        self.run(chunk, false, output);
    }

    /// Appends what was withheld: the body has ended.
    pub(crate) fn finish(&mut self, output: &mut Vec<u8>) {
        self.run(&[], true, output);
    }

    /// Whether bytes wait for the next chunk.
    pub(crate) const fn withholds(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// How many matches were replaced since the last call.
    pub(crate) fn take_redactions(&mut self) -> u64 {
        mem::take(&mut self.redactions)
    }

    fn run(&mut self, chunk: &[u8], complete: bool, output: &mut Vec<u8>) {
        let joined;
        let input = if self.withheld.is_empty() {
            chunk
        } else {
            self.withheld.extend_from_slice(chunk);
            joined = mem::take(&mut self.withheld);
            &joined
        };
        let rules = Rc::clone(&self.rules);
        let mut at = 0;
        let mut written = 0; // everything in front of it is in the output
        while at < input.len() {
            let window = Window::new(self.before, &input[at..], complete);
            let Ok(step) = self.step(&rules, &window) else {
                break;
            };
            let (length, state) = match step {
                Step::Pass(length, state) => (length, state),
                Step::Redact(found, replacement) => {
                    let (secret, end) = (at + found.keep, at + found.len);
                    output.extend_from_slice(&input[written..secret]);
                    replacement.write(&input[secret..end], output);
                    written = end;
                    self.redactions += 1;
                    (found.len, found.state_behind())
                }
                Step::Drop(length) => {
                    written = at + length;
                    (length, State::Token)
                }
            };
            at += length;
            self.state = state;
            self.before = at.checked_sub(1).map(|last| input[last]).or(self.before);
        }
        output.extend_from_slice(&input[written..at]);
        self.withheld.extend_from_slice(&input[at..]);
    }

    /// Decides about the bytes at the beginning of the window.
    fn step<'a>(&self, rules: &'a Rules, window: &Window<'_>) -> Result<Step<'a>, Undecided> {
        if self.state == State::Token {
            return Ok(match token_char(window, 0)? {
                0 => Step::Pass(0, State::Text),
                length => Step::Drop(length),
            });
        }
        if self.state == State::Text {
            let dull = dull_bytes(rules, window);
            if dull > 0 {
                return Ok(Step::Pass(dull, State::Text));
            }
        }
        let escape_left = match self.state {
            State::Escape { left } => left,
            _ if rules.look_at_words() => window.escape_len()?,
            _ => 0,
        };
        let word_start = escape_left == 0
            && (self.state == State::EscapeEnded || !window.before().is_some_and(is_word));
        let byte = window.at(0)?.unwrap_or_default();
        for rule in rules.iter(rules.candidates(byte, word_start)) {
            if let Some(found) = rule.pattern.find(window)? {
                return Ok(Step::Redact(found, &rule.replacement));
            }
        }
        let state = match escape_left {
            0 => State::Text,
            1 => State::EscapeEnded,
            left => State::Escape { left: left - 1 },
        };
        Ok(Step::Pass(1, state))
    }
}

/// How many bytes at the beginning of the window begin neither anything that a rule
/// looks for nor an escape sequence.
fn dull_bytes(rules: &Rules, window: &Window<'_>) -> usize {
    let mut word_start = !window.before().is_some_and(is_word);
    let is_interesting = |&byte: &u8| {
        let begins_something = rules.candidates(byte, word_start) != 0
            || (matches!(byte, b'\\' | b'%') && rules.look_at_words());
        word_start = !is_word(byte);
        begins_something
    };
    let bytes = window.arrived();
    bytes.iter().position(is_interesting).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
