//! Recorded observations: a file a group, a block a case.
//!
//! ```text
//! ## name-of-the-case
//! guest #2 request_headers 4 end
//! client
//!   HTTP/1.1 200 OK
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::observation::Observation;

/// Who was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Envoy,
    /// Only of the cases in which Weir differs on purpose.
    Weir,
}

/// The recorded observations of a group.
#[derive(Debug, Default)]
pub struct Record(pub BTreeMap<String, Observation>);

impl Record {
    /// Reads the record; an empty one if there is none yet.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn load(folder: &Path, group: &str, whose: Whose) -> Result<Self> {
        let path = path(folder, group, whose);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut record = Self::default();
        let mut current: Option<&mut Observation> = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("## ") {
                current = Some(record.0.entry(name.to_owned()).or_default());
            } else if let (false, Some(observation)) = (line.is_empty(), &mut current) {
                observation.lines.push(line.to_owned());
            }
        }
        Ok(record)
    }

    /// Writes the record, in the order of `names`; cases of other names are
    /// forgotten.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save<'a>(
        &self,
        folder: &Path,
        group: &str,
        whose: Whose,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let path = path(folder, group, whose);
        let blocks: Vec<String> = names
            .filter_map(|name| Some((name, self.0.get(name)?)))
            .map(|(name, observation)| format!("## {name}\n{}\n", observation.lines.join("\n")))
            .collect();
        if blocks.is_empty() {
            // there may have been none
            fs::remove_file(&path).ok();
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        fs::write(&path, blocks.join("\n"))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn path(folder: &Path, group: &str, whose: Whose) -> PathBuf {
    folder.join(match whose {
        Whose::Envoy => format!("{group}.txt"),
        Whose::Weir => format!("{group}.weir.txt"),
    })
}
