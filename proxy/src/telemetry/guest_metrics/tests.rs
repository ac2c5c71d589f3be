use weir_conformance::Exposition;

use super::*;

fn all() -> GuestMetrics {
    GuestMetrics::default()
}

fn page(metrics: &GuestMetrics) -> Exposition {
    let mut page = Page::default();
    metrics.show(&mut page);
    Exposition::parse(&page.render().unwrap()).unwrap()
}

#[test]
fn counters_add_up_over_workers_and_a_gauge_is_one_number() {
    let all = all();
    let define = |w, kind, name| all.define(w, Version::Stable, kind, name).unwrap();
    let counters = [0, 1].map(|w| define(w, MetricType::Counter, "a.b c"));
    let gauges = [0, 1].map(|w| define(w, MetricType::Gauge, "level"));
    counters[0].add(3);
    counters[1].record(4);
    gauges[0].record(10);
    gauges[1].record(5);
    gauges[0].add(-7);
    assert_eq!(counters[0].value(), 7);
    assert_eq!(gauges[1].value().cast_signed(), -2);
    let page = page(&all);
    assert_eq!(page.value("a_b_c", &[]), Some(7.0));
    assert_eq!(page.value("level", &[]), Some(-2.0));
}

#[test]
fn a_histogram_counts_samples_by_bucket_over_workers() {
    let all = all();
    for (worker, sample) in [(0, 0), (1, 1), (0, 30), (1, 4_000_000)] {
        let histogram = all.define(worker, Version::Stable, MetricType::Histogram, "h");
        histogram.unwrap().record(sample);
    }
    let page = page(&all);
    for (bound, count) in [
        ("0.5", 1.0),
        ("1", 2.0),
        ("25", 2.0),
        ("50", 3.0),
        ("+Inf", 4.0),
    ] {
        assert_eq!(
            page.value("h_bucket", &[("le", bound)]),
            Some(count),
            "{bound}"
        );
    }
    assert_eq!(page.value("h_sum", &[]), Some(4_000_031.0));
    assert_eq!(page.value("h_count", &[]), Some(4.0));
}

#[test]
fn series_of_a_family_stand_together_with_their_labels_escaped() {
    let all = all();
    for (name, n) in [
        ("reporter=.=source;.;requests", 1),
        ("other", 2),
        ("reporter=.=a\"b\\c\nd;.;requests", 3),
        ("requests", 4),
    ] {
        all.define(0, Version::Stable, MetricType::Counter, name)
            .unwrap()
            .add(n);
    }
    let page = page(&all);
    assert_eq!(page.value("requests", &[]), Some(4.0));
    assert_eq!(page.value("requests", &[("reporter", "source")]), Some(1.0));
    let odd = [("reporter", "a\"b\\c\nd")];
    assert_eq!(page.value("requests", &odd), Some(3.0));
}

#[test]
fn names_that_become_one_series_add_up() {
    let all = all();
    for name in ["a.b", "a_b"] {
        all.define(0, Version::Stable, MetricType::Counter, name)
            .unwrap()
            .add(2);
        all.define(
            0,
            Version::Stable,
            MetricType::Histogram,
            &format!("{name}.h"),
        )
        .unwrap()
        .record(1);
    }
    let page = page(&all);
    assert_eq!(page.value("a_b", &[]), Some(4.0));
    assert_eq!(page.value("a_b_h_count", &[]), Some(2.0));
}

#[test]
fn a_name_that_is_taken_gets_its_kind() {
    let all = all();
    let kinds = [
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Histogram,
    ];
    for kind in kinds {
        all.define(0, Version::Stable, kind, "x").unwrap().record(1);
        all.define(0, Version::Stable, kind, "weir_wasm_vm_starts_total")
            .unwrap();
        all.define(
            0,
            Version::Stable,
            kind,
            "envoy_http_downstream_rq_time_bucket",
        )
        .unwrap();
    }
    for name in ["h_count", "h_sum", "x_gauge", "h_bucket_counter"] {
        all.define(0, Version::Stable, MetricType::Counter, name)
            .unwrap();
    }
    all.define(0, Version::Stable, MetricType::Histogram, "h")
        .unwrap();
    let page = page(&all);
    for name in [
        "x",
        "x_gauge",
        "x_histogram_count",
        "h_count",
        "h_count_counter",
        "weir_wasm_vm_starts_total_counter",
        "weir_wasm_vm_starts_total_gauge",
        "envoy_http_downstream_rq_time_bucket_counter",
    ] {
        assert!(page.value(name, &[]).is_some(), "{name}");
    }
    assert_eq!(page.value("weir_wasm_vm_starts_total", &[]), None);
}

#[test]
fn any_names_make_a_page_that_is_well_formed() {
    let all = all();
    let pieces = [
        "", "a", "_", "=.=", ";.;", ".", "le", "é\n\"", "__x", "7", "h_sum",
    ];
    for first in pieces {
        for second in pieces {
            for third in pieces {
                for kind in [
                    MetricType::Counter,
                    MetricType::Gauge,
                    MetricType::Histogram,
                ] {
                    let name = [first, second, third].concat();
                    all.define(0, Version::Stable, kind, &name)
                        .unwrap()
                        .record(3);
                }
            }
        }
    }
    page(&all);
}

#[test]
fn there_is_a_limit_to_metrics() {
    let all = all();
    for n in 0..GUEST_METRICS_MAX {
        all.define(0, Version::Stable, MetricType::Gauge, &n.to_string())
            .unwrap();
    }
    let define = |name| {
        all.define(1, Version::Stable, MetricType::Gauge, name)
            .map(drop)
    };
    assert_eq!(define("more"), Err(DefineError::TooMany));
    assert_eq!(define("1"), Ok(()));
    let mut page = Page::default();
    all.show(&mut page);
    let text = page.render().unwrap();
    assert!(text.contains("\nweir_wasm_guest_metrics_refused_total 1\n"));
}
