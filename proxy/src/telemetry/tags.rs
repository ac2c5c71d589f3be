//! Tags in the names that guests give their metrics: `key=.=value;.;` before
//! the name proper, as Istio's filters write them and its bootstrap takes them
//! apart again (`stats_tags`: `(reporter=\.=(.*?);\.;)`).

use super::page::Labels;

const VALUE: &str = "=.=";
const END: &str = ";.;";

/// A guest's name of a metric, as Prometheus takes it: family and labels. The
/// labels are in the order of their names; of two with one name, the first
/// counts.
pub(super) fn parse(full: &str) -> (String, Labels) {
    let (mut family, mut labels) = (String::new(), Labels::new());
    let mut rest = full;
    while let Some((tag, after)) = rest.split_once(END) {
        let Some((before, value)) = tag.split_once(VALUE) else {
            // No tag: part of the name.
            family.push_str(&rest[..tag.len() + END.len()]);
            rest = after;
            continue;
        };
        // The name may go on before a key, up to its last dot.
        let key = before.rsplit_once('.').map_or(before, |(name, key)| {
            family.push_str(name);
            family.push('.');
            key
        });
        label(&mut labels, key, value);
        rest = after;
    }
    family.push_str(rest);
    let named = family.trim_matches(['.', '_']);
    if named.is_empty() {
        return nameless(full, labels);
    }
    labels.sort();
    (metric_name(family.trim_matches('.')), labels)
}

/// The name stands in the first key: `name_key_=.=value_;.;_`. The key proper
/// is what follows its last underscore.
fn nameless(full: &str, mut labels: Labels) -> (String, Labels) {
    if let Some((first, _)) = labels.first_mut()
        && let Some((name, key)) = first.rsplit_once('_')
        && !name.is_empty()
    {
        let (name, key) = (name.to_owned(), label_name(key));
        *first = key;
        labels.sort();
        labels.dedup_by(|later, first| later.0 == first.0);
        return (name, labels);
    }
    (metric_name(full), Labels::new())
}

fn label(labels: &mut Labels, key: &str, value: &str) {
    // Underscores that only set the separators off.
    let (key, value) = match (key.strip_suffix('_'), value.strip_suffix('_')) {
        (Some(key), Some(value)) => (key, value),
        _ => (key, value),
    };
    let key = label_name(key);
    if labels.iter().all(|(known, _)| *known != key) {
        labels.push((key, value.to_owned()));
    }
}

/// `name` with everything that Prometheus does not allow turned into `_`.
fn metric_name(name: &str) -> String {
    clean(name, |c| c == ':')
}

/// The same for a label. Names that mean something to Prometheus get another.
fn label_name(name: &str) -> String {
    let clean = clean(name, |_| false);
    match clean.as_str() {
        "le" | "quantile" => clean + "_",
        reserved if reserved.starts_with("__") => format!("_{}", reserved.trim_start_matches('_')),
        _ => clean,
    }
}

pub(super) fn clean(name: &str, also: impl Fn(char) -> bool) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || also(c);
    let chars = name.chars();
    let mut clean: String = chars.map(|c| if allowed(c) { c } else { '_' }).collect();
    if clean.is_empty() || clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(full: &str) -> String {
        let (name, labels) = parse(full);
        let labels: Vec<_> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        format!("{name}{{{}}}", labels.join(","))
    }

    #[test]
    fn a_name_without_tags_is_cleaned() {
        assert_eq!(shown("redact.hits"), "redact_hits{}");
        assert_eq!(shown("5xx"), "_5xx{}");
        assert_eq!(shown("a b:c-é"), "a_b:c__{}");
        assert_eq!(shown(""), "_{}");
        assert_eq!(shown("a;.;b"), "a_._b{}".replace('.', "_"));
        assert_eq!(shown("a=.=b"), "a___b{}");
    }

    #[test]
    fn tags_of_istio_become_labels() {
        assert_eq!(
            shown("reporter=.=source;.;response_code=.=200;.;istio_requests_total"),
            "istio_requests_total{reporter=source,response_code=200}"
        );
        let order = "response_code=.=200;.;reporter=.=source;.;istio_requests_total";
        assert_eq!(
            shown(order),
            "istio_requests_total{reporter=source,response_code=200}"
        );
        assert_eq!(
            shown("component.reporter=.=a.b/c \"d\";.;n"),
            "component_n{reporter=a.b/c \"d\"}"
        );
        assert_eq!(shown("k=.=;.;n"), "n{k=}");
    }

    #[test]
    fn underscores_may_set_separators_off() {
        assert_eq!(shown("key_=.=v_;.;name"), "name{key=v}");
        assert_eq!(shown("a_b_=.=v_;.;_"), "a{b=v}");
        assert_eq!(
            shown("istio_requests_total_reporter_=.=source_;.;code_=.=200_;.;_"),
            "istio_requests_total{code=200,reporter=source}"
        );
        assert_eq!(shown("b=.=v;.;"), "b___v___{}");
    }

    #[test]
    fn labels_are_told_apart_and_take_no_name_that_prometheus_needs() {
        assert_eq!(shown("k=.=1;.;k=.=2;.;n"), "n{k=1}");
        assert_eq!(shown("le=.=1;.;__name__=.=2;.;n"), "n{_name__=2,le_=1}");
        assert_eq!(shown("0=.=1;.;n"), "n{_0=1}");
        assert_eq!(shown("a_k=.=1;.;k=.=2;.;"), "a{k=1}");
    }
}
