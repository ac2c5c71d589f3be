//! Who may use a file.

use std::fmt;

use serde_json::json;

use crate::address::Address;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Fields, FromYaml, mismatch};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::Node;

/// The bits that there are.
const ALL: u32 = 0o777;

/// `mode`: who may read and write a file, in octal: `0660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// The mode of these bits, if there are no others.
    pub(crate) fn of_bits(bits: u32) -> Option<Self> {
        (bits <= ALL).then_some(Self(bits))
    }

    /// Its bits, as `chmod` takes them.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The `mode` beside the address of a listener or the admin, which must be a file
    /// then.
    pub(crate) fn beside(address: &Spanned<Address>, fields: &mut Fields<'_, '_>) -> Option<Self> {
        let mode = fields.optional("mode");
        let has_file = address.unix().is_some_and(|name| name.path().is_some());
        if mode.is_some() && !has_file {
            let message = "`mode` has no effect without the path of a Unix socket";
            let problem = Problem::new(fields.key_span("mode"), message);
            let help = "for example `address: unix:/run/weir.sock`";
            fields.problems.push(problem.help(help));
        }
        mode
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromYaml for FileMode {
    const EXPECTED: &'static str = "a mode in octal, such as `0660`";

    fn placeholder() -> Self {
        Self(ALL)
    }

    /// Octal, whether it begins with a 0 or not.
    fn read(node: &Node, problems: &mut Problems) -> Self {
        let text = node.text().filter(|text| matches!(text.len(), 3 | 4));
        let octal = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let bits = octal.and_then(|text| u32::from_str_radix(text, 8).ok());
        match bits.and_then(Self::of_bits) {
            Some(mode) => mode,
            None => mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::Is(json!({
            "type": ["string", "integer"],
            "pattern": "^0?[0-7]{3}$",
            "minimum": 0,
            "maximum": 777,
        }))
    }
}
