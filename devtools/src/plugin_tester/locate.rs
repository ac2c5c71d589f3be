//! Where the fields of a message stand in its text form.
//!
//! The library that reads the text form tells places of errors only. What it has
//! accepted is gone over once more here, as names, braces and values: the text is known
//! to be well-formed by then.

use std::collections::HashMap;

use weir_config::Span;

/// The place of each occurrence of a field, by its path: names with the number of the
/// occurrence within its message, such as `test[0].request_headers[0]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(HashMap<String, Span>);

impl Places {
    pub(super) fn insert(&mut self, path: String, span: Span) {
        self.0.insert(path, span);
    }

    /// The place of `path`; of a field that is not there, that of what it is in.
    pub(super) fn of(&self, path: &str) -> Span {
        let mut path = path;
        loop {
            if let Some(span) = self.0.get(path) {
                return *span;
            }
            match path.rfind('.') {
                Some(end) => path = &path[..end],
                None => return Span::default(),
            }
        }
    }

    /// Places in `text`, which is a message in text form.
    pub(super) fn in_text(text: &str) -> Self {
        let mut scanner = Scanner {
            text,
            at: 0,
            places: Self::default(),
        };
        scanner.message("");
        scanner.places
    }
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    places: Places,
}

impl Scanner<'_> {
    /// The fields of a message, up to its end.
    fn message(&mut self, path: &str) {
        let mut seen: HashMap<String, usize> = HashMap::new();
        loop {
            self.skip_blank();
            match self.peek() {
                None => return,
                Some(b'}' | b'>') => {
                    self.at += 1;
                    return;
                }
                Some(b',' | b';') => self.at += 1,
                Some(_) => self.field(path, &mut seen),
            }
        }
    }

    fn field(&mut self, path: &str, seen: &mut HashMap<String, usize>) {
        let start = self.at;
        let name = self.word();
        let span = Span::new(start, self.at);
        if name.is_empty() {
            // Nothing that the grammar has: not to be met, and not to be stuck at.
            self.at += 1;
            return;
        }
        self.skip_blank();
        if self.peek() == Some(b':') {
            self.at += 1;
            self.skip_blank();
        }
        if self.peek() == Some(b'[') {
            self.at += 1;
            loop {
                self.skip_blank();
                match self.peek() {
                    None => return,
                    Some(b']') => {
                        self.at += 1;
                        return;
                    }
                    Some(b',') => self.at += 1,
                    Some(_) => {
                        let at = self.at;
                        let path = self.occurrence(path, &name, seen);
                        self.value(&path);
                        self.places.insert(path, Span::new(at, at + 1));
                    }
                }
            }
        }
        let path = self.occurrence(path, &name, seen);
        self.places.insert(path.clone(), span);
        self.value(&path);
    }

    /// The path of the next occurrence of `name`.
    fn occurrence(&self, path: &str, name: &str, seen: &mut HashMap<String, usize>) -> String {
        let count = seen.entry(name.to_owned()).or_default();
        let index = *count;
        *count += 1;
        match path.is_empty() {
            true => format!("{name}[{index}]"),
            false => format!("{path}.{name}[{index}]"),
        }
    }

    fn value(&mut self, path: &str) {
        match self.peek() {
            Some(b'{' | b'<') => {
                self.at += 1;
                self.message(path);
            }
            Some(b'"' | b'\'') => {
                // Strings beside each other are one.
                while let Some(quote @ (b'"' | b'\'')) = self.peek() {
                    self.string(quote);
                    self.skip_blank();
                }
            }
            _ => {
                let start = self.at;
                self.word();
                self.at = self.at.max(start + 1);
            }
        }
    }

    fn string(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                byte if byte == quote => return,
                _ => {}
            }
        }
    }

    /// A name, or a value that is no string.
    fn word(&mut self) -> String {
        let rest = &self.text.as_bytes()[self.at.min(self.text.len())..];
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(byte);
        let length = rest.iter().take_while(|byte| is_word(byte)).count();
        let word = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length;
        word
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => return,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_comments_strings_and_lists() {
        let text = "# test { }\ntest {\n  name: \"a } b\" 'c'\n  properties: [{path: \"x\"}, {path: 'y'}]\n}\ntest: < name: \"z\"; benchmark: true >";
        let places = Places::in_text(text);
        let at = |path: &str| {
            let span = places.of(path);
            text[span.start..].chars().take(4).collect::<String>()
        };
        assert_eq!(at("test[0].name[0]"), "name");
        assert_eq!(at("test[0].properties[1].path[0]"), "path");
        assert_eq!(at("test[1]"), "test");
        assert_eq!(at("test[1].benchmark[0]"), "benc");
        assert_eq!(
            places.of("test[1].name[0]").start,
            text.rfind("name").unwrap()
        );
        assert_eq!(at("test[1].stream_init[0].log[0]"), "test");
    }
}
