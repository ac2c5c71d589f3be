//! What a case has seen so far, written by everyone who takes part in it, and
//! awaited by the steps.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

/// How long an event may take before the case goes on without it.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// A case's journal; cheap to clone.
#[derive(Clone, Default)]
pub struct Journal(Rc<Shared>);

#[derive(Default)]
struct Shared {
    entries: RefCell<Entries>,
    changed: Notify,
}

/// All that was seen.
#[derive(Default)]
pub struct Entries {
    /// The guest's lines, each with the name of its filter.
    pub guest: Vec<(String, String)>,
    /// What came in at the upstream, a message each.
    pub upstream: Vec<Message>,
    /// What came back to clients, a message each.
    pub client: Vec<Message>,
    /// What did not happen in time, and what could not be done.
    pub trouble: Vec<String>,
}

/// A message as it came in.
#[derive(Debug, Default, Clone)]
pub struct Message {
    /// Name of the client, and what it had asked for.
    pub of: String,
    /// First line and headers, interim responses before them.
    pub head: Vec<String>,
    /// Whether the (final) head is complete.
    pub has_head: bool,
    pub body: Vec<u8>,
    pub trailers: Vec<String>,
    /// How it ended, once it has.
    pub end: Option<End>,
    /// What came after the message on a connection that is no longer HTTP.
    pub tunnel: Vec<u8>,
    /// Further lines, such as how the connection ended.
    pub notes: Vec<String>,
}

/// How a message ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Complete,
    /// Before it was complete: by a reset, an end of the connection, ….
    Cut(String),
}

impl Message {
    /// All of it as text, to be looked through.
    fn text(&self) -> String {
        let mut text = self.head.join("\n");
        for bytes in [&self.body, &self.tunnel] {
            text += "\n";
            text += &String::from_utf8_lossy(bytes);
        }
        for line in self.trailers.iter().chain(&self.notes) {
            text = text + "\n" + line;
        }
        text
    }

    /// Whether it contains this text.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.text().contains(text)
    }
}

impl Journal {
    /// Changes the entries, and wakes who waits for a change.
    pub fn write<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        let result = change(&mut self.0.entries.borrow_mut());
        self.0.changed.notify_waiters();
        result
    }

    pub fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.0.entries.borrow())
    }

    pub fn trouble(&self, line: String) {
        self.write(|entries| entries.trouble.push(line));
    }

    /// Waits until `probe` gives something; notes it when that takes too long.
    pub async fn wait<T>(&self, what: &str, probe: impl FnMut(&Entries) -> Option<T>) -> Option<T> {
        let found = tokio::time::timeout(PATIENCE, self.find(probe)).await.ok();
        if found.is_none() {
            self.trouble(format!("waited in vain for {what}"));
        }
        found
    }

    /// Waits until `probe` gives something.
    pub async fn find<T>(&self, mut probe: impl FnMut(&Entries) -> Option<T>) -> T {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = self.read(&mut probe) {
                return found;
            }
            changed.await;
        }
    }

    /// Waits until nothing has changed for so long.
    pub async fn quiet(&self, calm: Duration) {
        while tokio::time::timeout(calm, self.0.changed.notified())
            .await
            .is_ok()
        {}
    }
}
