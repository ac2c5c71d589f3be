//! The differences that are on purpose, by their ids.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::case::Group;

/// The ids in the first column of the tables in `DIFFERENCES.md`.
///
/// # Errors
///
/// If the file cannot be read.
pub fn ids(file: &Path) -> Result<BTreeSet<String>> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    Ok(rows
        .filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .collect())
}

/// Checks that every difference that a case names is listed.
///
/// # Errors
///
/// Names the case and the id.
pub fn check(groups: &[Group], ids: &BTreeSet<String>) -> Result<()> {
    for group in groups {
        for case in &group.cases {
            for id in &case.differs {
                ensure!(
                    ids.contains(id),
                    "case {}/{} differs by `{id}`, which is not in DIFFERENCES.md",
                    group.name,
                    case.name
                );
            }
        }
    }
    Ok(())
}
