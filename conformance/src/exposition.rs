//! [`Exposition`]: a page of metrics, read as strictly as Prometheus' text format
//! (version 0.0.4) can be.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::str::Chars;

type Labels = BTreeMap<String, String>;

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Kind by family.
    families: BTreeMap<String, String>,
    /// Value by name and labels.
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a page.
    ///
    /// # Errors
    /// What is not as the format has it, or as Prometheus refuses it: lines that
    /// are none, names and labels that are not well-formed, samples apart from
    /// their family or without one, families and series that come twice,
    /// histograms that are not whole.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let Some(text) = text.strip_suffix('\n') else {
            return Err("no end of line at the end".to_owned());
        };
        let (mut family, mut helped) = (String::new(), BTreeSet::new());
        for line in text.split('\n') {
            let read = if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap_or_default();
                let first = helped.insert(name.to_owned()) && !page.families.contains_key(name);
                check(first && is_name(name, true), "HELP")
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                page.family(kind).map(|name| family = name)
            } else {
                page.sample(line, &family)
            };
            read.map_err(|error| format!("{error}: {line}"))?;
        }
        page.check_histograms()?;
        Ok(page)
    }

    /// The sample of this name with exactly these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.samples
            .get(&(name.to_owned(), labels.collect()))
            .copied()
    }

    /// Kind of a family.
    #[must_use]
    pub fn kind(&self, family: &str) -> Option<&str> {
        self.families.get(family).map(String::as_str)
    }

    /// Names of all families.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.families.keys().map(String::as_str)
    }

    fn family(&mut self, line: &str) -> Result<String, String> {
        let (name, kind) = line.split_once(' ').ok_or("TYPE")?;
        check(is_name(name, true), "name")?;
        check(["counter", "gauge", "histogram"].contains(&kind), "kind")?;
        let before = self.families.insert(name.to_owned(), kind.to_owned());
        check(before.is_none(), "a family comes twice")?;
        Ok(name.to_owned())
    }

    fn sample(&mut self, line: &str, family: &str) -> Result<(), String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        check(is_name(name, true), "name")?;
        let kind = self.families.get(family).ok_or("a sample without TYPE")?;
        let suffix = name
            .strip_prefix(family)
            .ok_or("a sample of another family")?;
        let suffixes: &[&str] = match kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        check(suffixes.contains(&suffix), "a sample of another family")?;
        let mut rest = rest.chars().peekable();
        let labels = match rest.next_if_eq(&'{') {
            Some(_) => labels(&mut rest)?,
            None => Labels::new(),
        };
        check(rest.next() == Some(' '), "no value")?;
        let number: String = rest.collect();
        let value: f64 = number.parse().map_err(|_| "value")?;
        check(kind == "gauge" || value >= 0.0, "a count below 0")?;
        check(labels.contains_key("le") == (suffix == "_bucket"), "le")?;
        let before = self.samples.insert((name.to_owned(), labels), value);
        check(before.is_none(), "a series comes twice")
    }

    fn check_histograms(&self) -> Result<(), String> {
        for (family, _) in self.families.iter().filter(|(_, k)| *k == "histogram") {
            let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            let mut whole = 0;
            for ((name, labels), value) in &self.samples {
                let Some(suffix) = name.strip_prefix(family.as_str()) else {
                    continue;
                };
                let mut labels = labels.clone();
                match suffix {
                    "_bucket" => {
                        let bound = labels.remove("le").unwrap_or_default();
                        let bound = match bound.as_str() {
                            "+Inf" => f64::INFINITY,
                            bound => bound.parse().map_err(|_| format!("{family}: le={bound}"))?,
                        };
                        buckets.entry(labels).or_default().push((bound, *value));
                    }
                    "_sum" | "_count" if self.kind(name).is_none() => whole += 1,
                    _ => {}
                }
            }
            check(whole == 2 * buckets.len(), family)?;
            for (labels, mut buckets) in buckets {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                let rising = buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
                check(rising, format!("{family} {labels:?}: buckets"))?;
                let last = buckets.last().copied();
                let count = (format!("{family}_count"), labels.clone());
                let sum = (format!("{family}_sum"), labels);
                let count = self.samples.get(&count).copied();
                let all = count.map(|count| (f64::INFINITY, count));
                check(last == all && self.samples.contains_key(&sum), family)?;
            }
        }
        Ok(())
    }
}

fn check(holds: bool, error: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(error.into()) }
}

/// Whether `name` is well-formed; colons are for families.
fn is_name(name: &str, colons: bool) -> bool {
    let start = |c: char| c.is_ascii_alphabetic() || c == '_' || colons && c == ':';
    name.starts_with(start) && name.chars().all(|c| start(c) || c.is_ascii_digit())
}

fn labels(rest: &mut Peekable<Chars<'_>>) -> Result<Labels, String> {
    let mut labels = Labels::new();
    loop {
        let mut name = String::new();
        while let Some(c) = rest.next_if(|c| *c != '=') {
            name.push(c);
        }
        check(is_name(&name, false) && !name.starts_with("__"), "label")?;
        check(
            rest.next() == Some('=') && rest.next() == Some('"'),
            "label",
        )?;
        let mut value = String::new();
        loop {
            match rest.next().ok_or("a value without end")? {
                '"' => break,
                '\\' => value.push(match rest.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    _ => return Err("escape".to_owned()),
                }),
                c => value.push(c),
            }
        }
        check(labels.insert(name, value).is_none(), "a label comes twice")?;
        match rest.next() {
            Some(',') => {}
            Some('}') => return Ok(labels),
            _ => return Err("labels without end".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let page = Exposition::parse(
            "# HELP a Things\n# TYPE a counter\na{x=\"1\",y=\"a\\\"\\\\\\n\"} 2\na 3\n\
             # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 5\nh_count 2\n",
        );
        let page = page.unwrap();
        assert_eq!(page.kind("a"), Some("counter"));
        assert_eq!(page.value("a", &[("y", "a\"\\\n"), ("x", "1")]), Some(2.0));
        assert_eq!(page.value("a", &[]), Some(3.0));
        assert_eq!(page.value("h_bucket", &[("le", "1")]), Some(1.0));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for page in [
            "",
            "a 1\n",
            "# TYPE a counter\na 1",
            "# TYPE a counter\na -1\n",
            "# TYPE a counter\na x\n",
            "# TYPE a counter\n\na 1\n",
            "# TYPE a counter\na 1\na 2\n",
            "# TYPE a counter\nb 1\n",
            "# TYPE a counter\na{x=\"1\",x=\"2\"} 1\n",
            "# TYPE a counter\na{x=\"\\t\"} 1\n",
            "# TYPE a counter\na{x=\"1} 1\n",
            "# TYPE a counter\na{x:y=\"1\"} 1\n",
            "# TYPE a counter\na{} 1\n",
            "# TYPE 1a counter\n1a 1\n",
            "# TYPE a counter\na 1\n# TYPE a gauge\n",
            "# TYPE a counter\na 1\n# TYPE b counter\nb 1\na{x=\"1\"} 2\n",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 5\nh_count 1\n",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_sum 5\nh_count 2\n",
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 5\nh_count 3\n",
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_count 2\n",
        ] {
            assert!(Exposition::parse(page).is_err(), "{page}");
        }
    }
}
