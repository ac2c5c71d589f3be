//! Bytes for a filter, given as YAML: `google.protobuf.Any` as Envoy reads it.

use base64::DecodeError;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Number, Value as Json};

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Fields, FromYaml, mismatch};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::{Entry, Meaning, Node, Scalar, Value, meaning};

/// The value of `key` as bytes; empty if there is none, with the span of the
/// block.
pub(crate) fn field(fields: &mut Fields<'_, '_>, key: &str) -> Spanned<Vec<u8>> {
    fields.note_shape(key, || Shape::Is(Json::Object(Map::new())));
    match fields.node(key) {
        Some(node) => Spanned::new(read(node, fields.problems), node.at),
        None => Spanned::new(Vec::new(), fields.at()),
    }
}

/// What a filter gets of a value.
pub(crate) fn read(node: &Node, problems: &mut Problems) -> Vec<u8> {
    if let Value::Mapping(entries) = &node.value
        && let Some(url) = entries.iter().find(|entry| entry.key.text == "@type")
    {
        return typed(&url.value, entries, problems);
    }
    match node.scalar() {
        Some((scalar, Meaning::Text)) => scalar.text.clone().into_bytes(),
        _ => json_bytes(node, problems),
    }
}

/// `{ "@type": …, value: … }`. Envoy unwraps these types and hands any other
/// message on in binary, which would need that message's schema.
fn typed(url: &Node, entries: &[Entry], problems: &mut Problems) -> Vec<u8> {
    let name = String::read(url, problems);
    let read_as: fn(&Node, &mut Problems) -> Vec<u8> = match name.rsplit('/').next() {
        Some("google.protobuf.StringValue") => {
            |node: &Node, problems: &mut Problems| String::read(node, problems).into_bytes()
        }
        Some("google.protobuf.BytesValue") => {
            |node: &Node, problems: &mut Problems| Base64::read(node, problems).0
        }
        Some("google.protobuf.Struct") => {
            |node: &Node, problems: &mut Problems| Struct::read(node, problems).0
        }
        _ => {
            let message = format!("the type `{name}` cannot be passed to a filter");
            let help = "types are `google.protobuf.StringValue`, `BytesValue` and `Struct`; \
                        or leave out `@type` and write the configuration itself";
            problems.push(Problem::new(url.span, message).help(help));
            return Vec::new();
        }
    };
    let mut bytes = Vec::new();
    for entry in entries {
        match entry.key.text.as_str() {
            "@type" => {}
            "value" => bytes = read_as(&entry.value, problems),
            key => {
                let message = format!("unknown key `{key}` beside `@type`");
                let help = "known keys are `@type` and `value`";
                problems.push(Problem::new(entry.key.span, message).help(help));
            }
        }
    }
    bytes
}

fn json_bytes(node: &Node, problems: &mut Problems) -> Vec<u8> {
    json(node, problems).to_string().into_bytes()
}

pub(crate) fn json(node: &Node, problems: &mut Problems) -> Json {
    match &node.value {
        Value::Broken => Json::Null,
        Value::Scalar(scalar) => json_scalar(scalar, node, problems),
        Value::Sequence(items) => {
            Json::Array(items.iter().map(|item| json(item, problems)).collect())
        }
        Value::Mapping(entries) => {
            let member = |entry: &Entry| (entry.key.text.clone(), json(&entry.value, problems));
            Json::Object(entries.iter().map(member).collect::<Map<_, _>>())
        }
    }
}

fn json_scalar(scalar: &Scalar, node: &Node, problems: &mut Problems) -> Json {
    let number = match meaning(scalar) {
        Meaning::Null => return Json::Null,
        Meaning::Bool(value) => return Json::Bool(value),
        Meaning::Text => return Json::String(scalar.text.clone()),
        Meaning::Integer => integer(&scalar.text),
        Meaning::Float => scalar.text.parse().ok().and_then(Number::from_f64),
    };
    match number {
        Some(number) => Json::Number(number),
        None => {
            let message = format!("`{}` does not fit a JSON number", scalar.text);
            problems.push(Problem::new(node.span, message).help("put it in quotes"));
            Json::Null
        }
    }
}

fn integer(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    let signed = || text.parse::<i64>().ok().map(Number::from);
    text.parse::<u64>().ok().map(Number::from).or_else(signed)
}

/// The `value` of a `google.protobuf.Struct`.
struct Struct(Vec<u8>);

impl FromYaml for Struct {
    const EXPECTED: &'static str = "a mapping";

    fn placeholder() -> Self {
        Self(Vec::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.value {
            Value::Mapping(_) => Self(json_bytes(node, problems)),
            Value::Scalar(_) | Value::Sequence(_) | Value::Broken => mismatch(node, problems),
        }
    }
}

/// Bytes in base64, of either alphabet, padded or not, as protobuf's JSON
/// reading takes them.
pub(crate) struct Base64(pub(crate) Vec<u8>);

impl FromYaml for Base64 {
    const EXPECTED: &'static str = "base64";

    fn placeholder() -> Self {
        Self(Vec::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text() else {
            return mismatch(node, problems);
        };
        let alphabet = if text.contains(['-', '_']) {
            URL_SAFE
        } else {
            STANDARD
        };
        let lenient =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        // Block scalars break long lines.
        let text: String = text.split_ascii_whitespace().collect();
        match GeneralPurpose::new(&alphabet, lenient).decode(&text) {
            Ok(bytes) => Self(bytes),
            Err(error) => {
                let message = match error {
                    DecodeError::InvalidByte(_, byte) => {
                        format!("`{}` is not a digit of base64", byte.escape_ascii())
                    }
                    DecodeError::InvalidLength(_)
                    | DecodeError::InvalidLastSymbol(..)
                    | DecodeError::InvalidPadding => "the base64 text is cut short".to_owned(),
                };
                problems.push(Problem::new(node.span, message));
                Self::placeholder()
            }
        }
    }

    fn shape() -> Shape {
        Shape::text()
    }
}
