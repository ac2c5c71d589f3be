//! Where the access log goes.

use std::path::PathBuf;

use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`access_log`",
    keys: &[("path", "stdout")],
    not_yet: &[],
    hints: &[],
};

/// `access_log`: one line for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// `path`: the word `stdout`, or the path of a file that is appended to.
    /// Required.
    pub path: Spanned<LogPath>,
}

/// `access_log.path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPath {
    /// The word `stdout`. A file of that name is `./stdout`.
    Stdout,
    /// A file, relative to the working directory.
    File(PathBuf),
}

impl FromYaml for LogPath {
    const EXPECTED: &'static str = "`stdout` or the path of a file";

    fn placeholder() -> Self {
        Self::Stdout
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.text() {
            Some("stdout") => Self::Stdout,
            Some(_) => Self::File(PathBuf::read(node, problems)),
            None => crate::read::mismatch(node, problems),
        }
    }
}

impl FromYaml for AccessLog {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            path: FromYaml::placeholder(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            path: fields.required("path"),
        }
    }
}
