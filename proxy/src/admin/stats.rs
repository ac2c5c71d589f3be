//! `/stats` and `/stats/prometheus`: numbers.

use regex::RegexBuilder;
use weir_abi::MetricType;

use super::AdminState;
use super::answer::Answer;
use super::request::Request;
use crate::limits::FILTER_REGEX_BYTES;
use crate::telemetry::{HistogramBuckets, StatsQuery};

/// `/stats`
pub(super) fn stats(state: &AdminState, request: &Request) -> Answer {
    let query = match query(request) {
        Ok(query) => query,
        Err(error) => return Answer::code(400, error),
    };
    let now = state.health.state();
    match request.parameter("format") {
        None | Some("text" | "") => Answer::text(state.metrics.stats(now, &query)),
        Some("json") => Answer::json(&state.metrics.stats_json(now, &query)),
        Some("prometheus") => render(state, &query),
        Some(_) => Answer::code(400, "usage: /stats?format=text|json|prometheus\n"),
    }
}

/// `/stats/prometheus`
pub(super) fn prometheus(state: &AdminState, request: &Request) -> Answer {
    match query(request) {
        Ok(query) => render(state, &query),
        Err(error) => Answer::code(400, error),
    }
}

fn render(state: &AdminState, query: &StatsQuery) -> Answer {
    match state.metrics.render(state.health.state(), query) {
        Ok(text) => Answer::new(200, "text/plain; version=0.0.4; charset=utf-8", text),
        Err(error) => Answer::code(500, format!("{error}\n")),
    }
}

fn query(request: &Request) -> Result<StatsQuery, String> {
    let filter = request.parameter("filter").filter(|f| !f.is_empty());
    let filter = filter.map(|filter| {
        let mut builder = RegexBuilder::new(filter);
        let built = builder.size_limit(FILTER_REGEX_BYTES).build();
        built.map_err(|error| format!("`filter` is not a regular expression: {error}\n"))
    });
    let kind = match request.parameter("type") {
        None | Some("All" | "") => None,
        Some("Counters") => Some(MetricType::Counter),
        Some("Gauges") => Some(MetricType::Gauge),
        Some("Histograms") => Some(MetricType::Histogram),
        Some(_) => return Err("usage: /stats?type=All|Counters|Gauges|Histograms\n".to_owned()),
    };
    let buckets = match request.parameter("histogram_buckets") {
        None | Some("none" | "") => HistogramBuckets::None,
        Some("cumulative") => HistogramBuckets::Cumulative,
        Some("disjoint") => HistogramBuckets::Disjoint,
        Some(_) => {
            let usage = "usage: /stats?histogram_buckets=cumulative|disjoint|none\n";
            return Err(usage.to_owned());
        }
    };
    Ok(StatsQuery {
        filter: filter.transpose()?,
        used_only: request.has("usedonly"),
        kind,
        buckets,
    })
}
