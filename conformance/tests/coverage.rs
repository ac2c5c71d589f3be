//! `COVERAGE.md` names cases that there are.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use weir_conformance::suite::case::Group;

#[test]
fn every_question_is_answered_by_cases_that_there_are() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    for group in Group::load_all(&home.join("cases")).unwrap() {
        known.insert(group.name.clone());
        let cases = group.cases.iter();
        known.extend(cases.map(|case| format!("{}/{}", group.name, case.name)));
    }
    let text = fs::read_to_string(home.join("COVERAGE.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let questions = rows.filter(|row| row.starts_with(|c: char| c.is_ascii_digit()));
    let mut count = 0;
    for row in questions {
        count += 1;
        let [number, _, cases, ..] = &row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        assert_eq!(number.parse(), Ok(count), "{row}");
        let names: Vec<_> = cases.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(known.contains(name), "question {number}: {name}");
        }
    }
    assert!(count > 0);
}
