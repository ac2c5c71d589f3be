//! [`Changes`]: what is configured of metrics and their labels.

use std::rc::Rc;

use weir_config::{Dimension, IstioMetric as Metric, IstioTag as Tag, MetricOverride};

use crate::istio::attribute;
use crate::limits::ISTIO_LABEL_BYTES;
use crate::stream::FilteredStream;
use crate::telemetry::{ISTIO_METRICS, IstioLabels};

/// The value of an attribute that a stream does not have.
const UNKNOWN: &str = "unknown";

/// What is configured of metrics.
pub(super) struct Changes {
    /// Each at the place of the metric in [`ISTIO_METRICS`].
    metrics: Vec<Change>,
    /// What labels are computed from.
    dimensions: Vec<Dimension>,
    /// The labels that any metric has as they are.
    pub(super) used: Vec<Tag>,
}

/// What is configured of one metric.
#[derive(Clone, Default)]
struct Change {
    is_dropped: bool,
    /// Labels that it does not have, or that have the value of a dimension.
    tags: Vec<(Tag, Option<usize>)>,
    /// Labels that it has besides, with the values of dimensions.
    added: Vec<(String, usize)>,
}

impl Change {
    fn of(&self, tag: Tag) -> Option<Option<usize>> {
        let mut tags = self.tags.iter();
        tags.find(|(known, _)| *known == tag).map(|(_, to)| *to)
    }

    fn set(&mut self, tag: Tag, to: Option<usize>) {
        self.tags.retain(|(known, _)| *known != tag);
        self.tags.push((tag, to));
    }
}

impl Changes {
    pub(super) fn of(overrides: &[MetricOverride]) -> Self {
        let mut metrics = vec![Change::default(); ISTIO_METRICS.len()];
        let mut dimensions: Vec<Dimension> = Vec::new();
        for over in overrides {
            let is_meant = |metric: &Metric| over.name.is_none_or(|name| name == *metric);
            let mut place = |value: &Dimension| {
                let known = dimensions.iter().position(|known| known == value);
                known.unwrap_or_else(|| {
                    dimensions.push(value.clone());
                    dimensions.len() - 1
                })
            };
            let of_dimensions = over.dimensions.0.iter();
            let of_dimensions = of_dimensions.map(|(name, value)| (name, place(value)));
            let of_dimensions: Vec<_> = of_dimensions.collect();
            let all = metrics.iter_mut().zip(ISTIO_METRICS);
            for (change, _) in all.filter(|(_, metric)| is_meant(metric)) {
                change.is_dropped |= over.drop;
                for tag in &over.tags_to_remove {
                    change.set(*tag, None);
                }
                for (name, place) in &of_dimensions {
                    let standard = Tag::ALL.iter().find(|(_, known)| known == name);
                    match standard {
                        Some((tag, _)) => change.set(*tag, Some(*place)),
                        None => {
                            change.added.retain(|(known, _)| known != *name);
                            change.added.push(((*name).clone(), *place));
                        }
                    }
                }
            }
        }
        let has = |tag: Tag| {
            let mut shown = metrics.iter().filter(|change| !change.is_dropped);
            shown.any(|change| change.of(tag).is_none())
        };
        let used = Tag::ALL.iter().map(|(tag, _)| *tag).filter(|tag| has(*tag));
        Self {
            used: used.collect(),
            metrics,
            dimensions,
        }
    }

    /// The values of all dimensions.
    pub(super) fn evaluate(&self, stream: &Rc<FilteredStream>) -> Vec<String> {
        let value = |dimension: &Dimension| match dimension {
            Dimension::Text(text) => text.clone(),
            Dimension::Attribute(path) => {
                let value = attribute::text(stream, path);
                let mut value = value.unwrap_or_else(|| UNKNOWN.to_owned());
                value.truncate(value.floor_char_boundary(ISTIO_LABEL_BYTES));
                value
            }
        };
        self.dimensions.iter().map(value).collect()
    }

    /// The labels of a metric; `None` if it is left out.
    pub(super) fn labels<'v>(
        &self,
        metric: Metric,
        of: impl Fn(Tag) -> &'v str,
        added: &[String],
    ) -> Option<IstioLabels> {
        let place = ISTIO_METRICS.iter().position(|known| *known == metric)?;
        let change = self.metrics.get(place)?;
        if change.is_dropped {
            return None;
        }
        let mut labels = Vec::with_capacity(Tag::ALL.len() + change.added.len());
        for (tag, name) in Tag::ALL {
            let is_of_requests = matches!(tag, Tag::ResponseCode | Tag::GrpcResponseStatus);
            if is_of_requests && !metric.is_of_requests() {
                continue;
            }
            let value = match change.of(*tag) {
                None => of(*tag),
                Some(Some(dimension)) => added.get(dimension)?.as_str(),
                Some(None) => continue,
            };
            labels.push(((*name).to_owned(), value.to_owned()));
        }
        for (name, dimension) in &change.added {
            labels.push((name.clone(), added.get(*dimension)?.clone()));
        }
        Some(labels.into())
    }
}

#[cfg(test)]
mod tests {
    use weir_config::Dimensions;

    use super::*;

    fn labels(changes: &Changes, metric: Metric, added: &[&str]) -> Option<Vec<(String, String)>> {
        let added: Vec<_> = added.iter().map(|text| (*text).to_owned()).collect();
        let labels = changes.labels(metric, |_| "v", &added)?;
        Some(labels.to_vec())
    }

    fn value<'l>(labels: &'l [(String, String)], name: &str) -> Option<&'l str> {
        let mut labels = labels.iter();
        labels.find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn metrics_have_the_labels_of_what_they_count() {
        let changes = Changes::of(&[]);
        let of_requests = labels(&changes, Metric::Requests, &[]).unwrap();
        assert_eq!(of_requests.len(), Tag::ALL.len());
        let of_connections = labels(&changes, Metric::SentBytes, &[]).unwrap();
        assert_eq!(of_connections.len(), Tag::ALL.len() - 2);
        assert_eq!(value(&of_connections, "response_code"), None);
    }

    #[test]
    fn what_comes_later_goes_before() {
        let text = |text: &str| Dimension::Text(text.to_owned());
        let change = |name, dimensions: &[(&str, &str)]| MetricOverride {
            name,
            dimensions: Dimensions(
                dimensions
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), text(value)))
                    .collect(),
            ),
            ..MetricOverride::default()
        };
        let changes = Changes::of(&[
            MetricOverride {
                tags_to_remove: vec![Tag::SourceApp, Tag::SourceVersion],
                ..MetricOverride::default()
            },
            change(
                Some(Metric::Requests),
                &[("source_app", "a"), ("team", "b")],
            ),
            change(Some(Metric::Requests), &[("team", "c")]),
            MetricOverride {
                name: Some(Metric::RequestBytes),
                drop: true,
                ..MetricOverride::default()
            },
        ]);
        let added = ["a", "b", "c"];
        let requests = labels(&changes, Metric::Requests, &added).unwrap();
        assert_eq!(value(&requests, "source_app"), Some("a"));
        assert_eq!(value(&requests, "source_version"), None);
        assert_eq!(value(&requests, "team"), Some("c"));
        let time = labels(&changes, Metric::RequestDuration, &added).unwrap();
        assert_eq!(value(&time, "source_app"), None);
        assert_eq!(value(&time, "team"), None);
        assert!(labels(&changes, Metric::RequestBytes, &added).is_none());
        assert!(!changes.used.contains(&Tag::SourceVersion));
    }
}
