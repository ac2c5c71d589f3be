//! A regular expression whose longest match is known beforehand.

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};

use super::{Found, Match, Window};
use crate::limits::{MAX_REGEX_MATCH_BYTES, MAX_REGEX_MEMORY};

/// An automaton that reads the body byte by byte and stops as soon as the match is
/// certain, as the scanner needs it.
#[derive(Debug)]
pub(crate) struct Regex {
    dfa: dense::DFA<Vec<u32>>,
}

impl Regex {
    /// Compiles a pattern in the syntax of the `regex` crate, on bytes: classes
    /// such as `\w` are ASCII.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: bad syntax, a match that is empty or has no
    /// bounded length, or an automaton that is too big.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let on_bytes = syntax::Config::new().unicode(false).utf8(false);
        let hir = syntax::parse_with(pattern, &on_bytes).map_err(|error| error.to_string())?;
        match (
            hir.properties().minimum_len(),
            hir.properties().maximum_len(),
        ) {
            (Some(0) | None, _) => return Err("it matches the empty string".to_owned()),
            (_, Some(longest)) if longest <= MAX_REGEX_MATCH_BYTES => {}
            (_, Some(longest)) => {
                return Err(format!(
                    "its longest match has {longest} bytes, at most {MAX_REGEX_MATCH_BYTES} can \
                     be held back"
                ));
            }
            (_, None) => {
                return Err(format!(
                    "its matches can be of any length, give its repetitions a bound as in \
                     `{{1,{MAX_REGEX_MATCH_BYTES}}}`"
                ));
            }
        }
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().nfa_size_limit(Some(MAX_REGEX_MEMORY)))
            .build_from_hir(&hir)
            .map_err(|error| error.to_string())?;
        let config = dense::Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .start_kind(StartKind::Anchored)
            .accelerate(false)
            .dfa_size_limit(Some(MAX_REGEX_MEMORY))
            .determinize_size_limit(Some(MAX_REGEX_MEMORY));
        let dfa = dense::Builder::new()
            .configure(config)
            .build_from_nfa(&nfa)
            .map_err(|error| error.to_string())?;
        Ok(Self { dfa })
    }

    pub(crate) fn find(&self, window: &Window<'_>) -> Found {
        let Ok(mut state) = self.dfa.start_state(&at(window.before())) else {
            return Ok(None);
        };
        let mut longest = None;
        for offset in 0.. {
            let byte = window.at(offset)?;
            state = match byte {
                Some(byte) => self.dfa.next_state(state, byte),
                None => self.dfa.next_eoi_state(state),
            };
            // the automaton reports a match one byte behind its end
            let matches = self.dfa.is_match_state(state);
            if matches {
                longest = Some(offset);
            }
            if byte.is_none() || self.is_over(state) || (matches && self.cannot_grow(state)) {
                break;
            }
        }
        Ok(longest.map(Match::of))
    }

    /// Whether a match can begin with this byte, whatever stands in front of it.
    pub(crate) fn begins_with(&self, byte: u8) -> bool {
        let befores = std::iter::once(None).chain((0..=u8::MAX).map(Some));
        befores
            .filter_map(|before| self.dfa.start_state(&at(before)).ok())
            .any(|state| !self.is_over(self.dfa.next_state(state, byte)))
    }

    fn is_over(&self, state: StateID) -> bool {
        self.dfa.is_dead_state(state) || self.dfa.is_quit_state(state)
    }

    /// Whether no continuation of the body makes the match longer.
    fn cannot_grow(&self, state: StateID) -> bool {
        (0..=u8::MAX).all(|byte| self.is_over(self.dfa.next_state(state, byte)))
            && !self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }
}

fn at(before: Option<u8>) -> start::Config {
    start::Config::new()
        .anchored(Anchored::Yes)
        .look_behind(before)
}

#[cfg(test)]
mod tests {
    use super::super::Undecided;
    use super::*;

    fn matched(pattern: &str, before: Option<u8>, text: &str) -> Option<usize> {
        let found = Regex::new(pattern)
            .unwrap()
            .find(&Window::new(before, text.as_bytes(), true));
        found.unwrap().map(|found| found.len)
    }

    #[test]
    fn match_begins_where_the_window_does() {
        assert_eq!(matched("key-[0-9]{1,4}", None, "key-123456"), Some(8));
        assert_eq!(matched("key-[0-9]{1,4}", None, "a key-1"), None);
    }

    #[test]
    fn first_alternative_wins_as_in_the_regex_crate() {
        assert_eq!(matched("ab|abcd", None, "abcd"), Some(2));
        assert_eq!(matched("abcd|ab", None, "abcd"), Some(4));
    }

    #[test]
    fn word_boundaries_look_at_the_byte_in_front_and_behind() {
        assert_eq!(matched(r"\bkey\b", Some(b' '), "key."), Some(3));
        assert_eq!(matched(r"\bkey\b", Some(b'x'), "key."), None);
        assert_eq!(matched(r"\bkey\b", None, "keys"), None);
        assert_eq!(matched(r"\bkey\b", None, "key"), Some(3));
    }

    #[test]
    fn match_is_undecided_until_it_cannot_grow() {
        let regex = Regex::new("a{2,3}").unwrap();
        let find = |text: &[u8]| regex.find(&Window::new(None, text, false));
        assert_eq!(find(b"aa"), Err(Undecided));
        assert_eq!(find(b"aab"), Ok(Some(Match::of(2))));
        assert_eq!(find(b"b"), Ok(None));
    }

    #[test]
    fn first_bytes_are_known() {
        let regex = Regex::new(r"(?i)\bkey|[0-9]x").unwrap();
        let first: Vec<u8> = (0..=u8::MAX)
            .filter(|&byte| regex.begins_with(byte))
            .collect();
        assert_eq!(first, b"0123456789Kk");
    }

    #[test]
    fn unbounded_empty_long_and_broken_patterns_are_refused() {
        for (pattern, words) in [
            ("a+", "matches can be of any length"),
            ("a*b{2}", "matches can be of any length"),
            ("a{0,4}", "matches the empty string"),
            ("", "matches the empty string"),
            ("a{257}", "its longest match has 257 bytes"),
            ("(a", "unclosed group"),
        ] {
            let reason = Regex::new(pattern).unwrap_err();
            assert!(reason.contains(words), "{pattern}: {reason}");
        }
    }
}
