//! Where the access log goes, and what is in it.

mod format;
mod template;
mod time;
mod tls;

use std::path::PathBuf;

pub use format::{JsonFormat, LogFormat};
pub use template::{Field, HeaderField, Operator, Piece, Template};
pub use time::TimePiece;
pub use tls::{TlsField, TlsOf};

use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`access_log`",
    keys: &[("path", "stdout"), ("format", "\"%RESPONSE_CODE%\\n\"")],
    not_yet: &[],
    hints: &[],
};

/// `access_log`: one line for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// `path`: the word `stdout` or `stderr`, or the path of a file that is
    /// appended to. Required.
    pub path: Spanned<LogPath>,
    /// `format`: a text, or a mapping for a line of JSON, with Envoy's
    /// operators. A text is written as it is: it ends with a line break.
    /// Default: [`LogFormat::Weir`].
    pub format: LogFormat,
}

/// `access_log.path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPath {
    /// The word `stdout`. A file of that name is `./stdout`.
    Stdout,
    /// The word `stderr`. A file of that name is `./stderr`.
    Stderr,
    /// A file, relative to the working directory.
    File(PathBuf),
}

impl FromYaml for LogPath {
    const EXPECTED: &'static str = "`stdout`, `stderr` or the path of a file";

    fn placeholder() -> Self {
        Self::Stdout
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.text() {
            Some("stdout") => Self::Stdout,
            Some("stderr") => Self::Stderr,
            Some(_) => Self::File(PathBuf::read(node, problems)),
            None => crate::read::mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::text()
    }
}

impl FromYaml for AccessLog {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            path: FromYaml::placeholder(),
            format: LogFormat::Weir,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            path: fields.required("path"),
            format: fields.optional("format").unwrap_or(LogFormat::Weir),
        }
    }
}
