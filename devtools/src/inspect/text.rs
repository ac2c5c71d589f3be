//! The report for people.

use std::fmt::Write as _;

use super::Report;
use super::hosts::Verdict;
use crate::hostcalls;

/// The whole report. Writing to a string cannot fail.
pub(crate) fn text(report: &Report) -> String {
    let mut out = String::new();
    let contents = &report.contents;
    let unknown = || "unknown".to_owned();
    let abi = report.abi().map_or_else(
        || "none: no marker is exported that is known".to_owned(),
        |abi| abi.to_string(),
    );
    let _ = writeln!(out, "{}: {} bytes", report.file, report.bytes);
    let facts = [
        ("ABI version", abi),
        (
            "language",
            report.origin.language.clone().unwrap_or_else(unknown),
        ),
        ("SDK", report.origin.sdk.clone().unwrap_or_else(unknown)),
        ("SHA-256", report.digest.clone()),
        ("signature", signature(report)),
    ];
    for (name, value) in facts {
        let _ = writeln!(out, "  {name:12} {value}");
    }
    for memory in &contents.memories {
        let maximum = memory.maximum.map_or_else(|| "no maximum".to_owned(), size);
        let shared = if memory.shared { ", shared" } else { "" };
        let initial = size(memory.initial);
        let _ = writeln!(
            out,
            "  {:12} {initial} at first, {maximum}{shared}",
            "memory"
        );
    }
    for producer in &contents.producers {
        let (field, name, version) = (&producer.field, &producer.name, &producer.version);
        let _ = writeln!(out, "  {field:12} {name} {version}");
    }

    let _ = writeln!(out, "\nhosts");
    for (name, verdict) in &report.hosts {
        host(&mut out, name, verdict);
    }

    let _ = writeln!(out, "\nimports ({})", contents.imports.len());
    for import in &contents.imports {
        let meaning = hostcalls::meaning(&import.module, &import.name);
        let name = format!("{}.{}", import.module, import.name);
        let _ = writeln!(out, "  {name:44} {meaning}");
    }
    let _ = writeln!(out, "\nexports ({})", contents.exports.len());
    for export in &contents.exports {
        let meaning = hostcalls::meaning_of_export(&export.name).unwrap_or("its own");
        let _ = writeln!(out, "  {:44} {meaning}", export.name);
    }

    let _ = writeln!(out, "\nsections");
    for section in &contents.sections {
        let items = section.items.map_or_else(String::new, |n| n.to_string());
        let _ = writeln!(
            out,
            "  {:28} {:>10} bytes {items:>8}",
            section.name, section.bytes
        );
    }
    for (name, bytes) in &contents.custom {
        let name = format!("custom `{name}`");
        let _ = writeln!(out, "  {name:28} {bytes:>10} bytes");
    }
    out
}

fn host(out: &mut String, name: &str, verdict: &Verdict) {
    let loads = match (verdict.loads(), verdict.remarks.is_empty()) {
        (true, true) => "loads",
        (true, false) => "loads, but",
        (false, _) => "does not load",
    };
    let _ = writeln!(out, "  {name:34} {loads}");
    for reason in verdict.obstacles.iter().chain(&verdict.remarks) {
        let _ = writeln!(out, "      {reason}");
    }
}

fn signature(report: &Report) -> String {
    let signatures = &report.signatures;
    let section = signatures
        .section
        .map(|kind| format!("in the module ({kind})"));
    let beside = signatures
        .beside
        .iter()
        .map(|file| format!("beside it ({file})"));
    let all: Vec<_> = section.into_iter().chain(beside).collect();
    match all.is_empty() {
        true => "none".to_owned(),
        false => all.join(", "),
    }
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None if bytes >= 1 << 10 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        None => format!("{bytes} bytes"),
    }
}
