//! Words out of a fixed set.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, list, mismatch, nearest};
use crate::yaml::Node;

/// A type whose values are words in the file.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// What the word chooses, with its article: "a codec".
    const NAME: &'static str;
    /// The words; the first is the placeholder.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, value)| *value == self);
        found.map_or("", |(word, _)| word)
    }
}

/// Reads a word, or notes what it could have been.
pub(crate) fn read<T: Word + FromYaml>(node: &Node, problems: &mut Problems) -> T {
    let Some(text) = node.text() else {
        return mismatch(node, problems);
    };
    if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
        return *value;
    }
    let words = T::WORDS.iter().map(|(word, _)| *word);
    let help = match nearest(text, words.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("it is one of {}", list(words)),
    };
    let problem = Problem::new(node.span, format!("`{text}` is not {}", T::NAME));
    problems.push(problem.help(help));
    T::placeholder()
}

/// Makes a type with the given [`Word`]s readable.
macro_rules! words {
    ($type:ty, $name:literal, $($word:literal => $value:expr),+ $(,)?) => {
        impl $crate::read::Word for $type {
            const NAME: &'static str = $name;
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
        }

        impl $crate::read::FromYaml for $type {
            const EXPECTED: &'static str = $name;

            fn placeholder() -> Self {
                <Self as $crate::read::Word>::WORDS[0].1
            }

            fn read(node: &$crate::yaml::Node, problems: &mut $crate::problems::Problems) -> Self {
                $crate::read::word(node, problems)
            }

            fn shape() -> $crate::schema::Shape {
                let words = <Self as $crate::read::Word>::WORDS.iter();
                $crate::schema::Shape::words(words.map(|(word, _)| *word))
            }
        }
    };
}

pub(crate) use words;
