//! Price lists for people.

use std::fmt::Write as _;

use super::{Price, Subject, Unit};
use crate::measure;

/// The price list of a filter, beside that of another if there is one. Writing to a
/// string cannot fail.
pub(crate) fn table(subject: &Subject<'_>, baseline: Option<&Subject<'_>>) -> String {
    let mut out = String::new();
    let prices = subject.prices();
    let Some(baseline) = baseline else {
        let _ = writeln!(out, "{}", subject.file());
        let _ = writeln!(out, "{:48} {:>12} {:>12}", "", "each", "per stream");
        for price in &prices {
            let often = price
                .per_stream
                .map_or_else(String::new, |often| format!("{often:.1}"));
            let amount = amount(price);
            let _ = writeln!(out, "{:48} {amount:>12} {often:>12}", price.what);
        }
        return out;
    };
    let before = baseline.prices();
    let _ = writeln!(out, "{} against {}", subject.file(), baseline.file());
    let _ = writeln!(
        out,
        "{:48} {:>12} {:>12} {:>8}",
        "", "baseline", "this", "change"
    );
    let names = before
        .iter()
        .chain(&prices)
        .map(|price| price.what.as_str());
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let find = |list: &[Price]| list.iter().find(|price| price.what == name).cloned();
        let (old, new) = (find(&before), find(&prices));
        let shown = |price: &Option<Price>| match price {
            None => "-".to_owned(),
            Some(Price {
                unit: Unit::Bytes | Unit::Calls,
                per_stream: Some(often),
                ..
            }) => format!("{often:.1}"),
            Some(price) => amount(price),
        };
        let change = match (old.as_ref().map(size), new.as_ref().map(size)) {
            (Some(old), Some(new)) if old > 0.0 => {
                format!("{:+.0} %", (new / old - 1.0) * 100.0)
            }
            _ => String::new(),
        };
        let (old, new) = (shown(&old), shown(&new));
        let _ = writeln!(out, "{name:48} {old:>12} {new:>12} {change:>8}");
    }
    out
}

/// What two prices of one thing are compared by.
fn size(price: &Price) -> f64 {
    match (price.unit, price.per_stream) {
        (Unit::Bytes | Unit::Calls, Some(often)) => often,
        _ => price.amount as f64,
    }
}

/// An amount with its unit; what is told by the stream is told of one.
fn amount(price: &Price) -> String {
    match (price.unit, price.per_stream) {
        (Unit::Nanoseconds, _) => measure::shown(price.amount),
        (Unit::Bytes | Unit::Calls, Some(_)) => String::new(),
        (Unit::Bytes, None) => format!("{} B", price.amount),
        (Unit::Calls, None) => price.amount.to_string(),
    }
}
