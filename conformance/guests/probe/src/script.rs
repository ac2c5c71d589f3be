//! The script: sections for callbacks, conditions, operations.
//!
//! ```text
//! request_headers: get request :path ; set request x-a 1
//! request_body more: pause
//! request_body end:
//!   read request 0 100
//!   write request 0 max changed
//! ```

use std::cell::Cell;

/// One section: what to do in a callback, and when.
pub struct Section {
    pub callback: String,
    conditions: Vec<Condition>,
    pub operations: Vec<Vec<String>>,
    runs: Cell<u32>,
}

enum Condition {
    /// `end` / `more`: at the end of the stream, or before it.
    End(bool),
    /// `#2`: the second call on this context.
    Nth(u32),
    /// `x1`: once, whatever the context.
    Times(u32),
    /// `path=/a`: on the stream whose request has this path.
    Path(String),
    /// `after=request_body`, `after=request_body#2`: when the oldest live stream
    /// has had that callback (so often). For ticks.
    After(String, u32),
    /// What is not understood never holds.
    Never,
}

/// What a condition is judged by.
pub struct Moment<'a> {
    pub end: bool,
    /// Which call of this callback on this context it is, from 1.
    pub nth: u32,
    pub path: &'a str,
    /// How often the oldest live stream has had a callback.
    pub had: &'a dyn Fn(&str) -> u32,
}

pub fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if indented {
            if let Some(section) = sections.last_mut() {
                section.operations.extend(operations(line));
            }
            continue;
        }
        let (head, rest) = line
            .split_once(": ")
            .unwrap_or((line.trim_end_matches(':'), ""));
        let mut words = head.split_whitespace();
        sections.push(Section {
            callback: words.next().unwrap_or_default().to_owned(),
            conditions: words.map(condition).collect(),
            operations: operations(rest).collect(),
            runs: Cell::new(0),
        });
    }
    sections
}

fn operations(line: &str) -> impl Iterator<Item = Vec<String>> {
    line.split(" ; ")
        .map(|operation| operation.split_whitespace().map(str::to_owned).collect())
        .filter(|words: &Vec<_>| !words.is_empty())
}

fn condition(word: &str) -> Condition {
    let number = |text: &str| text.parse().ok();
    match word {
        "end" => return Condition::End(true),
        "more" => return Condition::End(false),
        _ => {}
    }
    if let Some(n) = word.strip_prefix('#').and_then(number) {
        return Condition::Nth(n);
    }
    if let Some(path) = word.strip_prefix("path=") {
        return Condition::Path(path.to_owned());
    }
    if let Some(callback) = word.strip_prefix("after=") {
        let (callback, count) = callback.split_once('#').unwrap_or((callback, "1"));
        return Condition::After(callback.to_owned(), number(count).unwrap_or(1));
    }
    let times = word.strip_prefix('x').and_then(number);
    times.map_or(Condition::Never, Condition::Times)
}

impl Section {
    pub fn wants_path(&self) -> bool {
        let mut conditions = self.conditions.iter();
        conditions.any(|condition| matches!(condition, Condition::Path(_)))
    }

    /// Whether it is to run now; counts that it does.
    pub fn starts(&self, moment: &Moment<'_>) -> bool {
        let holds = self.conditions.iter().all(|condition| match condition {
            Condition::End(end) => *end == moment.end,
            Condition::Nth(n) => *n == moment.nth,
            Condition::Times(n) => self.runs.get() < *n,
            Condition::Path(path) => path == moment.path,
            Condition::After(callback, count) => (moment.had)(callback) >= *count,
            Condition::Never => false,
        });
        if holds {
            self.runs.set(self.runs.get() + 1);
        }
        holds
    }
}
