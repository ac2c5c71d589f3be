//! The table that a run ends with.

use super::verdict::Verdict;

/// Counts of a group.
#[derive(Debug, Default, Clone)]
pub struct Row {
    pub group: String,
    pub cases: usize,
    pub equal: usize,
    pub on_purpose: usize,
    /// Different, and known to be.
    pub open: usize,
    pub different: usize,
    pub not_compared: usize,
}

impl Row {
    /// Counts a verdict on a case that is known to differ, or not.
    pub fn count(&mut self, verdict: &Verdict, known: bool) {
        self.cases += 1;
        *match verdict {
            Verdict::Equal => &mut self.equal,
            Verdict::OnPurpose => &mut self.on_purpose,
            Verdict::NotCompared => &mut self.not_compared,
            Verdict::Different(..) if known => &mut self.open,
            Verdict::Different(..) | Verdict::Unsteady(..) => &mut self.different,
        } += 1;
    }
}

/// All rows, with their sum; `what` is counted.
#[must_use]
pub fn table(what: &str, rows: &[Row]) -> String {
    let mut sum = Row {
        group: "all".to_owned(),
        ..Row::default()
    };
    for row in rows {
        sum.cases += row.cases;
        sum.equal += row.equal;
        sum.on_purpose += row.on_purpose;
        sum.open += row.open;
        sum.different += row.different;
        sum.not_compared += row.not_compared;
    }
    let width = rows
        .iter()
        .map(|row| row.group.len())
        .max()
        .unwrap_or(0)
        .max(5);
    let mut text = format!(
        "{:width$}  {what:>8}  equal  on purpose  open  different  not compared\n",
        "group"
    );
    for Row {
        group,
        cases,
        equal,
        on_purpose,
        open,
        different,
        not_compared,
    } in rows.iter().chain([&sum])
    {
        text += &format!(
            "{group:width$}  {cases:8}  {equal:5}  {on_purpose:10}  {open:4}  {different:9}  {not_compared:12}\n"
        );
    }
    text
}
