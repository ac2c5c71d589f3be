//! What a case came to, as lines of text that can be compared and read.

use super::case::Case;
use super::guest;
use super::journal::{End, Entries, Message};
use super::normal::normalised;
use super::text::show;

/// Everything that guest, upstream and client saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    pub lines: Vec<String>,
}

impl Observation {
    #[must_use]
    pub fn new(entries: &Entries, case: &Case) -> Self {
        let mut lines = guest::lines(&entries.guest, case);
        for message in &entries.upstream {
            lines.push("upstream".to_owned());
            lines.extend(message_lines(message));
        }
        let mut clients: Vec<&Message> = entries.client.iter().collect();
        clients.sort_by_key(|message| &message.of);
        for message in clients {
            lines.push(format!("client {}", message.of).trim_end().to_owned());
            lines.extend(message_lines(message));
        }
        lines.extend(entries.trouble.iter().map(|line| format!("TROUBLE {line}")));
        Self { lines }
    }

    /// Adds the lines of an access log.
    pub fn add_access_log(&mut self, log: &str) {
        let lines = log.lines().map(|line| format!("log {line}"));
        self.lines.extend(lines);
    }
}

fn message_lines(message: &Message) -> Vec<String> {
    let mut lines: Vec<String> = message.head.iter().map(|line| normalised(line)).collect();
    if !message.body.is_empty() {
        lines.push(format!(
            "body {} {}",
            message.body.len(),
            show(&message.body)
        ));
    }
    lines.extend(
        message
            .trailers
            .iter()
            .map(|line| format!("trailer {line}")),
    );
    if !message.tunnel.is_empty() {
        lines.push(format!("then {}", show(&message.tunnel)));
    }
    match &message.end {
        Some(End::Complete) => {}
        Some(End::Cut(how)) => lines.push(format!("cut: {how}")),
        None => lines.push("unfinished".to_owned()),
    }
    lines.extend(message.notes.iter().cloned());
    lines.into_iter().map(|line| format!("  {line}")).collect()
}
