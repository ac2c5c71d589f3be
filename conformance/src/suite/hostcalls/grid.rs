//! [`Grid`]: a table of statuses, a row a hostcall, a column a callback.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What was not played, or gave no status.
const NONE: &str = "-";
/// Between an operation and its statuses.
const BAR: &str = " | ";

/// The statuses by their names in the probe's log.
const STATUSES: [(&str, &str); 10] = [
    ("ok", "0"),
    ("NotFound", "1"),
    ("BadArgument", "2"),
    ("SerializationFailure", "3"),
    ("ParseFailure", "4"),
    ("InvalidMemoryAccess", "6"),
    ("Empty", "7"),
    ("CasMismatch", "8"),
    ("InternalFailure", "10"),
    ("Unimplemented", "12"),
];

/// Statuses by operation and callback.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Grid(BTreeMap<(String, String), Cell>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Cell {
    /// Envoy's, or that of the proxy that was played.
    envoy: String,
    /// Weir's, where it is another one.
    weir: Option<String>,
}

impl Grid {
    /// Reads a table; an empty one if there is none yet.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn load(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines().filter_map(|line| line.split_once(BAR));
        let (_, callbacks) = lines.next().unwrap_or_default();
        let mut grid = Self::default();
        for (operation, cells) in lines {
            for (callback, cell) in callbacks.split_whitespace().zip(cells.split_whitespace()) {
                let (envoy, weir) = match cell.split_once('|') {
                    Some((envoy, weir)) => (envoy, Some(weir.to_owned())),
                    None => (cell, None),
                };
                let envoy = envoy.to_owned();
                let key = (operation.trim_end().to_owned(), callback.to_owned());
                grid.0.insert(key, Cell { envoy, weir });
            }
        }
        grid
    }

    /// Writes the table of `operations` by `callbacks`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(super) fn save(
        &self,
        file: &Path,
        version: &str,
        operations: &[&str],
        callbacks: &[&str],
    ) -> Result<()> {
        fs::write(file, self.show(version, operations, callbacks))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    fn show(&self, version: &str, operations: &[&str], callbacks: &[&str]) -> String {
        let mut text = format!(
            "Status of each hostcall in each callback in ABI {version}, as Envoy gives it; behind a bar\n\
             Weir's, where it is another one on purpose. What stands for rows and columns is in\n\
             `hostcalls.yaml`. Where VMs of one plugin differ, a stroke divides their statuses.\n"
        );
        let mut meanings: Vec<String> = STATUSES
            .iter()
            .map(|(name, number)| format!("{number} {name}"))
            .collect();
        meanings.push(format!("{NONE} not to be had"));
        let _ = writeln!(text, "{}.\n", meanings.join(", "));
        let width = operations.iter().map(|o| o.len()).max().unwrap_or(0);
        let row = |head: &str, cells: &[String]| {
            let cells = callbacks.iter().zip(cells);
            let cells = cells.map(|(callback, cell)| format!("{cell:0$}", callback.len().max(4)));
            let cells: Vec<String> = cells.collect();
            format!("{head:width$}{BAR}{}", cells.join(" "))
                .trim_end()
                .to_owned()
                + "\n"
        };
        let heads: Vec<String> = callbacks.iter().map(|c| (*c).to_owned()).collect();
        text += &row("", &heads);
        for operation in operations {
            let cells: Vec<String> = callbacks
                .iter()
                .map(|callback| match self.cell(operation, callback) {
                    Some(Cell {
                        envoy,
                        weir: Some(weir),
                    }) => format!("{envoy}|{weir}"),
                    _ => self.status(operation, callback).to_owned(),
                })
                .collect();
            text += &row(operation, &cells);
        }
        text
    }

    fn cell(&self, operation: &str, callback: &str) -> Option<&Cell> {
        self.0.get(&(operation.to_owned(), callback.to_owned()))
    }

    /// Envoy's status, or that of the proxy that was played.
    pub(super) fn status(&self, operation: &str, callback: &str) -> &str {
        self.cell(operation, callback)
            .map_or(NONE, |cell| &cell.envoy)
    }

    /// The status that Weir has to give, and whether it is another one than Envoy's.
    pub(super) fn expected(&self, operation: &str, callback: &str) -> (&str, bool) {
        let weir = self
            .cell(operation, callback)
            .and_then(|cell| cell.weir.as_deref());
        weir.map_or((self.status(operation, callback), false), |weir| {
            (weir, true)
        })
    }

    /// Takes the statuses of an operation in what was seen of a case.
    pub(super) fn read(&mut self, operation: &str, callback: &str, lines: &[String]) {
        let line = format!("guest   {operation} = ");
        let mut statuses: Vec<&str> = Vec::new();
        for told in lines.iter().filter_map(|seen| seen.strip_prefix(&line)) {
            let word = told.split(' ').next().unwrap_or_default();
            let number = STATUSES.iter().find(|(name, _)| *name == word);
            let number = number.map_or(word, |(_, number)| number);
            if !statuses.contains(&number) {
                statuses.push(number);
            }
        }
        if !statuses.is_empty() {
            let key = (operation.to_owned(), callback.to_owned());
            let envoy = statuses.join("/");
            self.0.insert(key, Cell { envoy, weir: None });
        }
    }

    /// Takes over what Envoy gives now.
    pub(super) fn take_envoy(&mut self, now: &Self) {
        for (key, cell) in &now.0 {
            self.0
                .entry(key.clone())
                .or_default()
                .envoy
                .clone_from(&cell.envoy);
        }
    }

    /// Takes over what Weir gives now, where it may differ.
    pub(super) fn take_weir(&mut self, now: &Self, differs: impl Fn(&str, &str) -> bool) {
        for (key, weir) in &now.0 {
            let cell = self.0.entry(key.clone()).or_insert_with(|| Cell {
                envoy: NONE.to_owned(),
                weir: None,
            });
            let (operation, callback) = key;
            let other = weir.envoy != cell.envoy && differs(operation, callback);
            cell.weir = other.then(|| weir.envoy.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let (mut envoy, mut weir) = (Grid::default(), Grid::default());
        let lines = seen(&["guest #2 log", "guest   get request a = ok \"v = w\""]);
        envoy.read("get request a", "log", &lines);
        let lines = seen(&["guest   time = BadArgument"]);
        envoy.read("time", "log", &lines);
        weir.read("time", "log", &seen(&["guest   time = ok some time"]));
        let mut recorded = Grid::default();
        recorded.take_envoy(&envoy);
        recorded.take_weir(&weir, |operation, _| operation == "time");
        let text = recorded.show("0.2.1", &["get request a", "time"], &["log"]);
        assert!(
            text.ends_with("get request a | 0\ntime          | 2|0\n"),
            "{text}"
        );
        let again = Grid::parse(&text);
        assert_eq!(again, recorded);
        assert_eq!(again.expected("time", "log"), ("0", true));
        assert_eq!(again.expected("get request a", "log"), ("0", false));
        assert_eq!(again.expected("get request a", "done"), (NONE, false));
    }

    #[test]
    fn statuses_of_several_vms_are_all_told() {
        let mut grid = Grid::default();
        let lines = [
            "guest   time = ok",
            "guest   time = NotFound",
            "guest   time = ok",
        ];
        grid.read("time", "configure", &seen(&lines));
        assert_eq!(grid.status("time", "configure"), "0/1");
    }
}
