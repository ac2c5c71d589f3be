//! `3306`, `"30000-32767"`.

use std::fmt;

use serde_json::json;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::Node;

/// Ports, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`; `None` if there are none.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Whether `port` is among them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// The ranges of the ports for which `has` is true.
    pub(crate) fn where_true(has: impl Fn(u16) -> bool) -> Vec<Self> {
        let mut ranges: Vec<Self> = Vec::new();
        for port in (0..=u16::MAX).filter(|port| has(*port)) {
            match ranges.last_mut() {
                Some(range) if range.last + 1 == port => range.last = port,
                _ => ranges.push(Self {
                    first: port,
                    last: port,
                }),
            }
        }
        ranges
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return self.first.fmt(f);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromYaml for PortRange {
    const EXPECTED: &'static str = "a port, or ports such as `30000-32767`";

    fn placeholder() -> Self {
        Self { first: 0, last: 0 }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text().filter(|text| !text.is_empty()) else {
            return mismatch(node, problems);
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ends = first.trim().parse().ok().zip(last.trim().parse().ok());
        let range = ends.and_then(|(first, last)| Self::new(first, last));
        range.unwrap_or_else(|| {
            let problem = Problem::new(node.span, format!("`{text}` is no port, nor several"));
            problems.push(problem.help("for example `3306` or `30000-32767`"));
            Self::placeholder()
        })
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": ["integer", "string"], "pattern": "^[0-9]+ *(- *[0-9]+)?$" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_ports_that_are_meant() {
        let ranges = PortRange::where_true(|port| port < 2 || port == 7 || port >= 65_534);
        let texts: Vec<_> = ranges.iter().map(PortRange::to_string).collect();
        assert_eq!(texts, ["0-1", "7", "65534-65535"]);
        assert!(ranges[0].contains(1) && !ranges[0].contains(2));
        assert!(PortRange::new(2, 1).is_none());
    }
}
