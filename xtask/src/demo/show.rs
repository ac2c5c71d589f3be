//! Shows a message on both sides of the filters, with what they changed.

use super::exchange::Message;
use super::gateway::is_watched;

/// How a line of the later message relates to the earlier one.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Same,
    Added,
    Removed,
}

/// Shows `before` and `after`, each with a title.
pub(super) fn both(what: &str, before: (&str, &Message), after: (&str, &Message)) {
    let (earlier, later) = (lines(before.1), lines(after.1));
    println!("\n  {what}: {}", before.0);
    for line in &earlier {
        let mark = if later.contains(line) {
            Mark::Same
        } else {
            Mark::Removed
        };
        print(mark, line);
    }
    println!("  {what}: {}", after.0);
    for line in &later {
        let mark = if earlier.contains(line) {
            Mark::Same
        } else {
            Mark::Added
        };
        print(mark, line);
    }
}

fn lines(message: &Message) -> Vec<String> {
    let mut lines = vec![message.start.clone()];
    let headers = message.headers.iter();
    lines.extend(headers.map(|(name, value)| format!("{}: {value}", name.to_lowercase())));
    if !message.body.is_empty() {
        lines.push(message.body.clone());
    }
    lines
}

fn print(mark: Mark, line: &str) {
    let (sign, colour) = match mark {
        Mark::Same => (' ', ""),
        Mark::Added => ('+', "\x1b[32m"),
        Mark::Removed => ('-', "\x1b[31m"),
    };
    if is_watched() && mark != Mark::Same {
        println!("    {colour}{sign} {line}\x1b[0m");
    } else {
        println!("    {sign} {line}");
    }
}
