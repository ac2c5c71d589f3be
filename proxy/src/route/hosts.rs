//! Which virtual host a request is for.

use std::collections::HashMap;

/// Something by domain. The whole name comes first, then the longest
/// `*.example`, then the longest `shop.*`, then `*`.
#[derive(Debug)]
pub(super) struct Hosts<T> {
    values: Vec<T>,
    /// Places among the values.
    exact: HashMap<Vec<u8>, usize>,
    /// What stands behind the star, the longest first.
    suffixes: Vec<(Vec<u8>, usize)>,
    /// What stands before the star, the longest first.
    prefixes: Vec<(Vec<u8>, usize)>,
    any: Option<usize>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            exact: HashMap::new(),
            suffixes: Vec::new(),
            prefixes: Vec::new(),
            any: None,
        }
    }
}

impl<T> Hosts<T> {
    /// Adds `value` for requests to any of `domains`.
    pub(super) fn add<'d>(&mut self, domains: impl Iterator<Item = &'d str>, value: T) {
        let place = self.values.len();
        self.values.push(value);
        for domain in domains {
            let domain = domain.to_ascii_lowercase();
            if domain == "*" {
                self.any = Some(place);
            } else if let Some(suffix) = domain.strip_prefix('*') {
                self.suffixes.push((suffix.into(), place));
            } else if let Some(prefix) = domain.strip_suffix('*') {
                self.prefixes.push((prefix.into(), place));
            } else {
                self.exact.insert(domain.into(), place);
            }
        }
        for list in [&mut self.suffixes, &mut self.prefixes] {
            list.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        }
    }

    /// The value for an authority, its port included. As in Envoy, `*` is for
    /// every authority, even an empty one; none at all only takes it if there
    /// is no other domain.
    pub(super) fn find(&self, authority: Option<&[u8]>) -> Option<&T> {
        let only_any =
            self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty();
        let place = if only_any {
            self.any
        } else {
            self.place(&authority?.to_ascii_lowercase())
        };
        place.map(|place| &self.values[place])
    }

    fn place(&self, host: &[u8]) -> Option<usize> {
        // A star stands for at least one character.
        let suffix =
            |(text, _): &&(Vec<u8>, usize)| host.len() > text.len() && host.ends_with(text);
        let prefix =
            |(text, _): &&(Vec<u8>, usize)| host.len() > text.len() && host.starts_with(text);
        self.exact
            .get(host)
            .or_else(|| Some(&self.suffixes.iter().find(suffix)?.1))
            .or_else(|| Some(&self.prefixes.iter().find(prefix)?.1))
            .copied()
            .or(self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_domain_is_taken() {
        let mut hosts = Hosts::default();
        let domains = [
            "*",
            "shop.example",
            "*.example",
            "*.shop.example",
            "shop.*",
            "shop.e*",
            "*-x.example",
            "port.example:81",
        ];
        for domain in domains {
            hosts.add([domain].into_iter(), domain);
        }
        let find = |authority: &str| *hosts.find(Some(authority.as_bytes())).unwrap_or(&"none");
        assert_eq!(find("shop.example"), "shop.example");
        assert_eq!(find("SHOP.example"), "shop.example");
        assert_eq!(find("www.example"), "*.example");
        assert_eq!(find("a.shop.example"), "*.shop.example");
        assert_eq!(find("a-x.example"), "*-x.example");
        assert_eq!(find("shop.org"), "shop.*");
        assert_eq!(find("shop.eu"), "shop.e*");
        assert_eq!(find("shop.example:80"), "shop.e*");
        assert_eq!(find("port.example:81"), "port.example:81");
        assert_eq!(find(".example"), "*");
        assert_eq!(find("else"), "*");
        assert_eq!(find(""), "*");
        assert_eq!(hosts.find(None), None);
    }

    #[test]
    fn a_star_alone_needs_no_host() {
        let mut hosts = Hosts::default();
        hosts.add(["*"].into_iter(), 1);
        assert_eq!(hosts.find(None), Some(&1));
        assert_eq!(hosts.find(Some(b"")), Some(&1));
    }
}
