//! Metrics that guests define.

use crate::guest::Guest;
use crate::world::Rig;

/// Defines a counter, a gauge and a histogram, then does this with them: `$c`,
/// `$g` and `$h` are their numbers.
fn with_metrics(script: &str) -> Vec<String> {
    let keep = |name| format!("(global.set ${name} (i32.load (i32.const 16)))");
    let configure = format!(
        "define_metric 0 'c'\n{}\ndefine_metric 1 'g'\n{}\ndefine_metric 2 'h'\n{}",
        keep("c"),
        keep("g"),
        keep("h"),
    );
    let script: String = script
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [call, metric, rest @ ..] = &words[..] else {
                unreachable!("{line}");
            };
            let metric = match metric.parse::<u32>() {
                Ok(number) => format!("(i32.const {number})"),
                Err(_) => format!("(global.get ${metric})"),
            };
            let (argument, out) = match rest {
                [value] => (format!("(i64.const {value})"), 0),
                _ => ("(i32.const 16)".to_owned(), 4),
            };
            format!(
                "(call $report (call $proxy_{call}_metric {metric} {argument}) (i32.const {out}))\n"
            )
        })
        .collect();
    let rig = Rig::new(
        &Guest::new()
            .text("(global $c (mut i32) (i32.const 0))")
            .text("(global $g (mut i32) (i32.const 0))")
            .text("(global $h (mut i32) (i32.const 0))")
            .importing("proxy_increment_metric")
            .importing("proxy_record_metric")
            .importing("proxy_get_metric")
            .on("proxy_on_configure", &configure)
            .on("proxy_on_request_headers", &script),
    );
    rig.request_headers();
    rig.told()
}

#[test]
fn a_metric_carries_its_kind_in_the_two_low_bits_of_its_number() {
    let script = "define_metric 0 'c'\ndefine_metric 1 'g'\ndefine_metric 2 'h'";
    let told = crate::world::in_request_headers(script);
    let (names, numbers): (Vec<_>, Vec<_>) = told.chunks(2).map(|c| (&c[0], &c[1])).unzip();
    assert_eq!(names, ["Counter c", "Gauge g", "Histogram h"]);
    for (kind, number) in numbers.iter().enumerate() {
        let number: usize = number.strip_prefix("0 ").unwrap().parse().unwrap();
        assert!(number >= 4);
        assert_eq!(number % 4, kind);
    }
}

#[test]
fn an_unknown_kind_is_a_bad_argument() {
    assert_eq!(
        crate::world::in_request_headers("define_metric 3 'x'"),
        ["2"]
    );
}

#[test]
fn a_counter_grows_and_never_shrinks() {
    let script = "increment c 5\nincrement c 0\nincrement c -3\nrecord c 2\nget c";
    let expected = ["c += 5", "0", "2", "2", "c records 2", "0", "0 7"];
    assert_eq!(with_metrics(script), expected);
}

#[test]
fn a_gauge_moves_both_ways_and_is_set() {
    let script = "increment g 5\nincrement g -3\nrecord g 2\nget g";
    let expected = ["g += 5", "0", "g += -3", "0", "g records 2", "0", "0 7"];
    assert_eq!(with_metrics(script), expected);
}

#[test]
fn a_histogram_takes_samples_only() {
    let script = "record h 100\nincrement h 1\nget h";
    assert_eq!(with_metrics(script), ["h records 100", "0", "2", "2"]);
}

#[test]
fn an_unknown_metric_is_judged_by_the_kind_in_its_number() {
    for (number, increment, get) in [(1000, "1", "1"), (1001, "1", "1"), (1002, "2", "2")] {
        let script = format!("increment {number} 1\nget {number}\nrecord {number} 1");
        assert_eq!(with_metrics(&script), [increment, get, "1"], "{number}");
    }
    let told = with_metrics("increment 1003 1\nget 1003\nrecord 1003 1");
    assert_eq!(told, ["2", "2", "1"]);
}
