//! What a scalar means by itself: YAML 1.2's core schema (chapter 10.3). So
//! `yes`, `on` and `12:30` are strings, whatever YAML 1.1 made of them.

use crate::yaml::node::Scalar;

/// The type that the core schema gives to a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Null,
    Bool(bool),
    Integer,
    Float,
    Text,
}

pub(crate) fn meaning(scalar: &Scalar) -> Meaning {
    if scalar.quoted {
        return Meaning::Text;
    }
    match scalar.text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Meaning::Null,
        "true" | "True" | "TRUE" => Meaning::Bool(true),
        "false" | "False" | "FALSE" => Meaning::Bool(false),
        text if is_integer(text) => Meaning::Integer,
        text if is_float(text) => Meaning::Float,
        _ => Meaning::Text,
    }
}

fn is_integer(text: &str) -> bool {
    let all = |digits: &str, test: fn(&u8) -> bool| {
        !digits.is_empty() && digits.as_bytes().iter().all(test)
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, u8::is_ascii_hexdigit);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |digit| (b'0'..=b'7').contains(digit));
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    all(digits, u8::is_ascii_digit)
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let starts_as_number = unsigned
        .strip_prefix('.')
        .unwrap_or(unsigned)
        .starts_with(|c: char| c.is_ascii_digit());
    // Rust reads what the schema allows, and also names ("inf"), which the
    // test of the first character keeps out.
    starts_as_number && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Meaning {
        meaning(&Scalar {
            text: text.to_owned(),
            quoted: false,
        })
    }

    #[test]
    fn scalars_mean_what_the_core_schema_says() {
        for text in ["0", "-19", "+7", "0o14", "0x3A"] {
            assert_eq!(plain(text), Meaning::Integer, "{text}");
        }
        for text in [
            "0.", "-0.0", ".5", "+12e03", "-2E+05", ".inf", "-.INF", ".nan",
        ] {
            assert_eq!(plain(text), Meaning::Float, "{text}");
        }
        for text in [
            "yes", "on", "12:30", "1_000", "0x", "inf", "nan", "-", ".", "1.2.3", "10ms",
        ] {
            assert_eq!(plain(text), Meaning::Text, "{text}");
        }
        for text in ["", "~", "null"] {
            assert_eq!(plain(text), Meaning::Null, "{text}");
        }
        assert_eq!(plain("True"), Meaning::Bool(true));
    }

    #[test]
    fn quotes_make_a_string() {
        let scalar = Scalar {
            text: "true".to_owned(),
            quoted: true,
        };
        assert_eq!(meaning(&scalar), Meaning::Text);
    }
}
