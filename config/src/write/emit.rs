//! JSON values as YAML that people like to read.

use serde_json::Value as Json;

/// Flow style is for what fits into a line of this many characters.
const LINE: usize = 76;

/// A mapping as a document.
pub(super) fn document(value: &Json) -> String {
    let mut out = String::new();
    match value {
        Json::Object(members) if members.is_empty() => out.push_str("{}\n"),
        value => block(&mut out, value, 0),
    }
    out
}

/// `value` in lines of their own, each with its line break.
fn block(out: &mut String, value: &Json, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Json::Object(members) => {
            for (key, value) in members {
                out.push_str(&pad);
                out.push_str(&text(key));
                out.push(':');
                child(out, value, indent, indent + 2);
            }
        }
        Json::Array(items) => {
            for item in items {
                out.push_str(&pad);
                out.push('-');
                if let Json::Object(members) = item
                    && !members.is_empty()
                    && !fits(item, indent + 20)
                {
                    // The first key stands beside the dash.
                    let mut lines = String::new();
                    block(&mut lines, item, indent + 2);
                    out.push(' ');
                    out.push_str(lines.trim_start_matches(' '));
                } else {
                    child(out, item, indent, indent + 2);
                }
            }
        }
        _ => out.push_str(&flow(value)),
    }
}

/// `value` behind `key:` or `-`, to the end of its line or lines.
fn child(out: &mut String, value: &Json, parent: usize, indent: usize) {
    if let Json::String(value) = value
        && let Some(header) = literal_header(value)
    {
        out.push(' ');
        out.push_str(header);
        out.push('\n');
        for line in value.lines() {
            if !line.is_empty() {
                out.push_str(&" ".repeat(indent));
                out.push_str(line);
            }
            out.push('\n');
        }
    } else if fits(value, parent + 20) {
        out.push(' ');
        out.push_str(&flow(value));
        out.push('\n');
    } else {
        out.push('\n');
        block(out, value, indent);
    }
}

/// Whether a value goes into one line: scalars always do, and collections that
/// are short and not deep.
fn fits(value: &Json, used: usize) -> bool {
    match value {
        Json::Object(members) if members.is_empty() => true,
        Json::Array(items) if items.is_empty() => true,
        Json::Object(members) => {
            members.values().all(|v| !v.is_array() && shallow(v))
                && used + flow(value).len() <= LINE
                && members.len() < 4
        }
        Json::Array(items) => {
            items
                .iter()
                .all(|item| !item.is_object() && !item.is_array())
                && used + flow(value).len() <= LINE
        }
        _ => true,
    }
}

/// Whether a value is a scalar, or a mapping of scalars, on one line.
fn shallow(value: &Json) -> bool {
    match value {
        Json::Object(members) => members.values().all(|v| !v.is_array() && shallow(v)),
        Json::String(text) => literal_header(text).is_none(),
        _ => true,
    }
}

fn flow(value: &Json) -> String {
    match value {
        Json::String(value) => text(value),
        Json::Object(members) if members.is_empty() => "{}".to_owned(),
        Json::Object(members) => {
            let members = members
                .iter()
                .map(|(k, v)| format!("{}: {}", text(k), flow(v)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// A string: plain if that is safe anywhere, or else in double quotes, whose
/// escapes are those of JSON.
fn text(value: &str) -> String {
    let first = value.chars().next();
    let starts = first.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_'));
    let inside = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '*' | '+' | '(' | ')')
    };
    // A colon is one of a mapping only before a blank.
    let colons = value.contains(':') && !value.ends_with(':');
    let plain = starts && value.chars().all(|c| inside(c) || (colons && c == ':'));
    let bare = plain && !means_something(value);
    if bare {
        value.to_owned()
    } else {
        Json::from(value).to_string()
    }
}

/// Whether a plain scalar would be taken for something other than a string.
fn means_something(text: &str) -> bool {
    let scalar = crate::yaml::Scalar {
        text: text.to_owned(),
        quoted: false,
    };
    crate::yaml::meaning(&scalar) != crate::yaml::Meaning::Text
}

/// How a text of several lines is written as a block, if it can be.
fn literal_header(text: &str) -> Option<&'static str> {
    let clean = |c: char| {
        c == '\n'
            || (!c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
    };
    let body = text.strip_suffix('\n').unwrap_or(text);
    let suitable = body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && text.chars().all(clean)
        && !body
            .lines()
            .any(|line| line.ends_with(' ') || line.starts_with('\t'));
    let header = if body.len() == text.len() { "|-" } else { "|" };
    suitable.then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_plain_only_where_that_is_safe() {
        for plain in ["web", "127.0.0.1:80", "/api/*", "15s", "a.b-c_d"] {
            assert_eq!(text(plain), plain);
        }
        for quoted in [
            "", "true", "1", "a: b", "a:", "*", "[::1]:80", "- a", "a #b", "é", "~",
        ] {
            assert_eq!(text(quoted), Json::from(quoted).to_string());
        }
    }
}
