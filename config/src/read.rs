//! From YAML values to typed ones.

mod address;
mod block;
mod duration;
mod percent;
mod scalars;
mod size;
mod suggest;
mod words;

pub(crate) use block::{Block, Fields};
pub use percent::Percent;
pub use size::ByteSize;
pub(crate) use suggest::{list, nearest, snake_case};
pub(crate) use words::{Word, read as word, words};

use crate::error::Problem;
use crate::problems::Problems;
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::{Node, Value};

/// A type that has a YAML form.
///
/// Reading never stops at an error: it notes the problem and goes on with a
/// placeholder, so that the rest of the file is checked too. Placeholders stay
/// inside: with a problem noted, no configuration is handed out.
pub(crate) trait FromYaml: Sized {
    /// Completes "expected …".
    const EXPECTED: &'static str;

    /// What stands in for a value that could not be read.
    fn placeholder() -> Self;

    /// Reads the value, or notes a problem and gives the placeholder.
    fn read(node: &Node, problems: &mut Problems) -> Self;

    /// What the value looks like, for the schema; unless it says so itself, as a
    /// [`Block`] does.
    fn shape() -> Shape {
        Shape::Block(|node, problems| {
            Self::read(node, problems);
        })
    }
}

/// Notes that `node` is of the wrong kind for a `T`.
pub(crate) fn mismatch<T: FromYaml>(node: &Node, problems: &mut Problems) -> T {
    mismatch_with_help(node, None, problems)
}

/// [`mismatch`], with a hint.
pub(crate) fn mismatch_with_help<T: FromYaml>(
    node: &Node,
    help: Option<&str>,
    problems: &mut Problems,
) -> T {
    if !matches!(node.value, Value::Broken) {
        let message = format!("expected {}, found {}", T::EXPECTED, node.describe());
        let problem = Problem::new(node.span, message);
        problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }
    T::placeholder()
}

impl<T: FromYaml> FromYaml for Spanned<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn placeholder() -> Self {
        Self::new(T::placeholder(), crate::Span::default())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        Self::new(T::read(node, problems), node.at)
    }

    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: FromYaml> FromYaml for Vec<T> {
    const EXPECTED: &'static str = "a list";

    fn placeholder() -> Self {
        Self::new()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        if let Value::Sequence(items) = &node.value {
            return items.iter().map(|item| T::read(item, problems)).collect();
        }
        let help = "put `- ` in front of every item, even of a single one";
        mismatch_with_help(node, Some(help), problems)
    }

    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
}
