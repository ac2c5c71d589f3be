//! Where a filter's code comes from: Envoy's `AsyncDataSource`.

use std::path::PathBuf;

use crate::any::Base64;
use crate::error::Problem;
use crate::not_yet::NotYet;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`code`",
    keys: &[("local", "{ filename: auth.wasm }")],
    not_yet: &[("remote", NotYet::RemoteCode)],
    hints: &[(
        "filename",
        "local",
        "`filename` belongs into `local`: `code: { local: { filename: ... } }`",
    )],
};

pub(crate) static LOCAL_BLOCK: Block = Block {
    name: "`local`",
    keys: &[
        ("filename", "auth.wasm"),
        ("inline_bytes", "AGFzbQEAAAA="),
        ("inline_string", "(module)"),
    ],
    not_yet: &[
        ("environment_variable", NotYet::CodeFromEnvironment),
        ("watched_directory", NotYet::WatchedDirectory),
    ],
    hints: &[],
};

/// `code`: a module, under `local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// `filename`: a file, relative to the working directory. Not opened here.
    File(Spanned<PathBuf>),
    /// `inline_bytes` (base64) or `inline_string` (text, so WebAssembly's text
    /// format): the module itself.
    Inline(Spanned<Vec<u8>>),
}

/// `local`: Envoy's `DataSource`.
struct Local(Code);

impl FromYaml for Code {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::Inline(Spanned::new(Vec::new(), crate::Span::default()))
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        if fields.refused("remote") {
            return Self::placeholder();
        }
        fields.required::<Local>("local").value.0
    }
}

impl FromYaml for Local {
    const EXPECTED: &'static str = LOCAL_BLOCK.name;

    fn placeholder() -> Self {
        Self(Code::placeholder())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = LOCAL_BLOCK.open(node, problems);
        let file = fields.optional("filename").map(Code::File);
        let bytes: Option<Spanned<Base64>> = fields.optional("inline_bytes");
        let bytes = bytes.map(|bytes| Code::Inline(Spanned::new(bytes.value.0, bytes.span)));
        let text: Option<Spanned<String>> = fields.optional("inline_string");
        let text = text.map(|text| Code::Inline(Spanned::new(text.value.into_bytes(), text.span)));

        let mut given = [file, bytes, text].into_iter().flatten();
        let Some(code) = given.next() else {
            if !fields.refused("environment_variable") {
                fields.require("filename");
            }
            return Self::placeholder();
        };
        if given.next().is_some() {
            let message = "only one of `filename`, `inline_bytes` and `inline_string` can be set";
            let problem = Problem::new(fields.at(), message);
            fields.problems.push(problem);
        }
        Self(code)
    }
}
