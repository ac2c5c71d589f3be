//! What a case's guests logged, as lines of its observation.

use super::case::Case;
use super::normal::normalised_pairs;

/// Callbacks by which a root context starts.
const START: [&str; 3] = ["context_create 0", "vm_start", "configure"];

/// The lines of all filters. A proxy starts as many VMs as it likes, and when it
/// likes: of starts that look the same only the first is told, before all else,
/// and a start in which nothing is done only where the case is about that.
pub(super) fn lines(logged: &[(String, String)], case: &Case) -> Vec<String> {
    let mut starts: Vec<String> = Vec::new();
    let mut rest: Vec<String> = Vec::new();
    // the filters whose latest callback belongs to a start
    let mut starting: Vec<&str> = Vec::new();
    for (filter, line) in logged {
        if let Some(is_start) = starts_callback(line) {
            starting.retain(|name| name != filter);
            if is_start {
                starting.push(filter);
            }
        }
        let label = match case.filters.len() + case.loggers.len() {
            1 => "guest".to_owned(),
            _ => format!("guest {filter}"),
        };
        let line = &normalised_pairs(line);
        let told = match line.strip_prefix(". ") {
            Some(hostcall) => format!("{label}   {hostcall}"),
            None => format!("{label} {line}"),
        };
        let in_start = line.starts_with('@') || starting.contains(&filter.as_str());
        if !in_start {
            rest.push(told);
        } else if !starts.contains(&told) {
            starts.push(told);
        }
    }
    if case.any_chunks {
        rest = without_chunks(&rest);
    }
    if !case.start && starts.iter().all(|line| line.contains('#')) {
        starts.clear();
    }
    starts.into_iter().chain(rest).collect()
}

/// Whether a line begins a callback of a start, or another one; none if it begins
/// none.
fn starts_callback(line: &str) -> Option<bool> {
    let (_, callback) = line.strip_prefix('#')?.split_once(' ')?;
    Some(START.iter().any(|start| callback.starts_with(start)))
}

/// Body callbacks lose their sizes, and those in a row in which the same is done
/// become one.
fn without_chunks(lines: &[String]) -> Vec<String> {
    let mut callbacks: Vec<Vec<String>> = Vec::new();
    for line in lines {
        match callbacks.last_mut() {
            Some(callback) if !line.contains('#') => callback.push(line.clone()),
            _ => callbacks.push(vec![without_size(line)]),
        }
    }
    callbacks.dedup();
    // the last piece of a body may come alone or with others
    let mut told: Vec<Vec<String>> = Vec::new();
    for callback in callbacks {
        if let ([head], Some([before])) = (&callback[..], told.last().map(Vec::as_slice))
            && head.strip_suffix(" end") == Some(before)
        {
            told.pop();
        }
        told.push(callback);
    }
    told.concat()
}

fn without_size(line: &str) -> String {
    let body = ["_body ", "stream_data "]
        .iter()
        .find_map(|body| Some(line.find(body)? + body.len()));
    match body {
        Some(at) if line.ends_with(" end") => format!("{}… end", &line[..at]),
        Some(at) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}
