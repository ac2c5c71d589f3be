//! The rules of a configuration, ready to be run over bodies.

use crate::pattern::Pattern;

/// One thing to look for and what stands in its place.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) pattern: Pattern,
    pub(crate) replacement: Replacement,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Replacement {
    Text(String),
    /// Letters and digits become asterisks, but for so many at the end; at least
    /// half of them are always masked.
    Mask {
        keep_last: usize,
    },
}

impl Replacement {
    pub(crate) fn write(&self, secret: &[u8], output: &mut Vec<u8>) {
        match self {
            Self::Text(text) => output.extend_from_slice(text.as_bytes()),
            Self::Mask { keep_last } => {
                let maskable = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
                let count = secret.iter().filter(|byte| maskable(byte)).count();
                let mut masked = count - (*keep_last).min(count / 2);
                output.extend(secret.iter().map(|&byte| {
                    if masked == 0 || !maskable(&byte) {
                        return byte;
                    }
                    masked -= 1;
                    b'*'
                }));
            }
        }
    }
}

/// A set of rule numbers.
pub(crate) type RuleSet = u64;

/// All rules, and for each byte those that can match where it stands.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    candidates: Box<[RuleSet; 256]>,
    whole_words: RuleSet,
}

impl Rules {
    /// At most [`MAX_RULES`](crate::limits::MAX_RULES): further ones are never
    /// tried.
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let set = |wanted: &dyn Fn(&Pattern) -> bool| {
            let numbers = (0..RuleSet::BITS).zip(&rules);
            numbers.fold(0, |set, (number, rule)| {
                set | RuleSet::from(wanted(&rule.pattern)) << number
            })
        };
        let mut candidates = Box::new([0; 256]);
        for (byte, entry) in (0..=u8::MAX).zip(candidates.iter_mut()) {
            *entry = set(&|pattern| pattern.begins_with(byte));
        }
        let whole_words = set(&Pattern::wants_whole_words);
        Self {
            rules,
            candidates,
            whole_words,
        }
    }

    /// The rules that can match where `byte` stands, the first in the
    /// configuration first. `word_start` says whether a word can begin there.
    pub(crate) fn candidates(&self, byte: u8, word_start: bool) -> RuleSet {
        let all = self.candidates[usize::from(byte)];
        if word_start {
            all
        } else {
            all & !self.whole_words
        }
    }

    /// Whether any rule looks at words, so that escape sequences matter.
    pub(crate) const fn look_at_words(&self) -> bool {
        self.whole_words != 0
    }

    /// The rules of a set in the order of the configuration.
    pub(crate) fn iter(&self, set: RuleSet) -> impl Iterator<Item = &Rule> {
        let numbered = (0..RuleSet::BITS).zip(&self.rules);
        numbered
            .filter(move |(number, _)| set >> number & 1 == 1)
            .map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secret: &str, keep_last: usize) -> String {
        let mut output = Vec::new();
        Replacement::Mask { keep_last }.write(secret.as_bytes(), &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn mask_keeps_the_shape_and_the_last_characters() {
        assert_eq!(masked("4111-1111-1111-1234", 4), "****-****-****-1234");
        assert_eq!(masked("bob@example.com", 0), "***@*******.***");
    }

    #[test]
    fn mask_never_shows_more_than_half() {
        assert_eq!(masked("abcdef", 4), "***def");
        assert_eq!(masked("a", 4), "*");
    }

    #[test]
    fn mask_leaves_no_half_of_a_character() {
        assert_eq!(masked("\u{e9}\u{e9}ab", 2), "****ab");
    }
}
