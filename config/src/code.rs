//! Where a filter's code comes from: Envoy's `AsyncDataSource`.

mod image;
pub(crate) mod remote;

use std::path::PathBuf;

pub use self::image::ImageReference;
pub use self::remote::{ModuleUri, PullPolicy, RemoteCode, Retries, is_loopback};

use crate::any::Base64;
use crate::error::Problem;
use crate::not_yet::NotYet;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`code`",
    keys: &[
        ("local", "{ filename: auth.wasm }"),
        ("remote", "{ uri: \"oci://ghcr.io/acme/auth:1.2\" }"),
    ],
    not_yet: &[],
    hints: &[
        (
            "filename",
            "local",
            "`filename` belongs into `local`: `code: { local: { filename: ... } }`",
        ),
        (
            "uri",
            "local",
            "`uri` belongs into `remote`: `code: { remote: { uri: ... } }`",
        ),
    ],
};

pub(crate) static LOCAL_BLOCK: Block = Block {
    name: "`local`",
    keys: &[
        ("filename", "auth.wasm"),
        ("inline_bytes", "AGFzbQEAAAA="),
        ("inline_string", "(module)"),
        ("environment_variable", "AUTH_WASM"),
    ],
    not_yet: &[("watched_directory", NotYet::WatchedDirectory)],
    hints: &[],
};

/// `code`: a module, under `local` or `remote`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// `filename`: a file, relative to the working directory. Not opened here.
    File(Spanned<PathBuf>),
    /// `inline_bytes` (base64) or `inline_string` (text, so WebAssembly's text
    /// format): the module itself.
    Inline(Spanned<Vec<u8>>),
    /// `environment_variable`: a variable of Weir's own environment that holds the
    /// module in base64, as it is or in gzip. Not looked at here.
    Environment(Spanned<String>),
    /// `remote`: a module on a server.
    Remote(Spanned<Box<RemoteCode>>),
}

impl Code {
    /// The place to point at when something is wrong with the module.
    pub fn span(&self) -> Span {
        match self {
            Self::File(name) => name.span,
            Self::Inline(bytes) => bytes.span,
            Self::Environment(name) => name.span,
            Self::Remote(remote) => remote.uri.span,
        }
    }
}

/// `local`: Envoy's `DataSource`.
struct Local(Code);

impl FromYaml for Code {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::Inline(Spanned::new(Vec::new(), Span::default()))
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        if fields.one_of(&["local", "remote"]) == Some("remote") {
            let remote: Spanned<RemoteCode> = fields.required("remote");
            return Self::Remote(Spanned::new(Box::new(remote.value), remote.span));
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

        let variable = fields.optional("environment_variable");
        let variable = variable.map(Code::Environment);

        let mut given = [file, bytes, text, variable].into_iter().flatten();
        let Some(code) = given.next() else {
            fields.require("filename");
            return Self::placeholder();
        };
        if given.next().is_some() {
            let message = "only one of `filename`, `inline_bytes`, `inline_string` and \
                           `environment_variable` can be set";
            let problem = Problem::new(fields.at(), message);
            fields.problems.push(problem);
        }
        Self(code)
    }
}
