//! Differences that are known and not on purpose: a list that is to become empty.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::verdict::Verdict;

const NAME: &str = "open.txt";

/// The verdicts on a group's cases, by name.
pub type Verdicts = Vec<(String, Verdict)>;

/// The names of the cases, `group/case`.
#[derive(Debug, Default)]
pub struct Open(BTreeSet<String>);

impl Open {
    /// Reads the list; an empty one if there is none.
    #[must_use]
    pub fn load(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join(NAME)).unwrap_or_default();
        Self(text.lines().map(str::to_owned).collect())
    }

    #[must_use]
    pub fn contains(&self, group: &str, case: &str) -> bool {
        self.0.contains(&format!("{group}/{case}"))
    }

    /// Puts the cases that differ on the list, takes the others off.
    pub fn update(&mut self, group: &str, verdicts: &Verdicts) {
        for (case, verdict) in verdicts {
            let name = format!("{group}/{case}");
            if matches!(verdict, Verdict::Different(..)) {
                self.0.insert(name);
            } else {
                self.0.remove(&name);
            }
        }
    }

    /// Writes the list; no file if it is empty.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(NAME);
        if self.0.is_empty() {
            // there may have been none
            fs::remove_file(&path).ok();
            return Ok(());
        }
        let text: String = self.0.iter().map(|name| format!("{name}\n")).collect();
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
