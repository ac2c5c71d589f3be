//! [`HeaderMap`]: headers in the order and multiplicity in which they came.

mod joined;

use std::borrow::Cow;

use bytes::Bytes;

/// An ordered multimap of header names and values.
///
/// Names are lower case; values are any bytes. Pseudo-headers (`:path`, …)
/// stand before all others. Duplicates stay apart and in order, but for those
/// names whose values Envoy joins (`joined.rs`). A [sorted](HeaderMap::sorted) map
/// keeps another order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderMap {
    entries: Vec<(Bytes, Bytes)>,
    /// How many entries at the front are pseudo-headers.
    pseudo: usize,
    /// Bytes of all names and values.
    bytes: usize,
    /// Entries stand in the order of their names, which have one value each.
    sorted: bool,
}

impl HeaderMap {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map that stays in the order of its names, bytewise, and has one value
    /// for each: what is added to a name is joined to what is there by `, `.
    #[must_use]
    pub fn sorted() -> Self {
        Self {
            sorted: true,
            ..Self::default()
        }
    }

    /// An empty map with room for `capacity` entries.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            ..Self::default()
        }
    }

    /// Number of entries, pseudo-headers and duplicates included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sum of the bytes of all names and values.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.bytes
    }

    /// All entries in order.
    pub fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + DoubleEndedIterator + Clone {
        self.entries.iter().map(|(k, v)| (&k[..], &v[..]))
    }

    /// All entries in order, as shared bytes.
    #[must_use]
    pub fn entries(&self) -> &[(Bytes, Bytes)] {
        &self.entries
    }

    /// First value of `name`, whatever its case.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        let mut entries = self.entries.iter();
        entries.find(|(k, _)| is_named(k, name)).map(|(_, v)| v)
    }

    /// All values of `name` in order.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a Bytes> {
        self.entries
            .iter()
            .filter(move |(k, _)| is_named(k, name))
            .map(|(_, v)| v)
    }

    /// Whether `name` has a value.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Appends a value; earlier values of the name stay. A second value of a
    /// pseudo-header, or of one of the names that Envoy keeps one value of, is
    /// joined to the first with a comma, as Envoy does.
    pub fn add(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.add_lower_case(lower_case(name.into()), value.into());
    }

    /// The same for a name that is known to be in lower case.
    pub fn add_lower_case(&mut self, name: Bytes, value: Bytes) {
        if self.sorted
            && let Some((_, first)) = self.entries.iter_mut().find(|(k, _)| *k == name)
        {
            *first = [&first[..], b", ", &value].concat().into();
            self.bytes += 2 + value.len();
            return;
        }
        if (is_pseudo(&name) || joined::is_joined(&name))
            && let Some((_, first)) = self.entries.iter_mut().find(|(k, _)| *k == name)
        {
            *first = [&first[..], b",", &value].concat().into();
            self.bytes += 1 + value.len();
            return;
        }
        self.push(name, value);
    }

    /// Removes all values of `name` and appends this one at the end.
    pub fn replace(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        let name = lower_case(name.into());
        match self.first(&name) {
            Some(first) => self.replace_from(first, &name, value.into()),
            None => self.push(name, value.into()),
        }
    }

    /// The same for a name that is only copied if there is none.
    pub fn replace_copied(&mut self, name: &[u8], value: impl Into<Bytes>) {
        let name = in_lower_case(name);
        match self.first(&name) {
            Some(first) => self.replace_from(first, &name, value.into()),
            None => self.push(Bytes::copy_from_slice(&name), value.into()),
        }
    }

    /// Where the first value of `name`, which is in lower case, stands.
    fn first(&self, name: &[u8]) -> Option<usize> {
        self.entries.iter().position(|(k, _)| k == name)
    }

    /// Replaces all values of `name`, the first of which stands there.
    fn replace_from(&mut self, first: usize, name: &[u8], value: Bytes) {
        if first + 1 == self.entries.len() {
            // It is where it would come to be.
            let there = &mut self.entries[first].1;
            self.bytes = self.bytes - there.len() + value.len();
            *there = value;
            return;
        }
        self.remove_from(first + 1, name);
        let (name, old) = self.entries.remove(first);
        self.bytes -= name.len() + old.len();
        self.pseudo -= usize::from(is_pseudo(&name));
        self.push(name, value);
    }

    /// Puts one value in the place of all values of `name`: where the first of
    /// them stands, or else at the end.
    pub fn overwrite(&mut self, name: &'static str, value: impl Into<Bytes>) {
        let value = value.into();
        let Some(first) = self.first(name.as_bytes()) else {
            self.push(Bytes::from_static(name.as_bytes()), value);
            return;
        };
        let there = &mut self.entries[first].1;
        self.bytes = self.bytes - there.len() + value.len();
        *there = value;
        self.remove_from(first + 1, name.as_bytes());
    }

    /// Removes all values of `name`; returns whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.remove_from(0, name)
    }

    /// The same, of the entries from `start` on. Mostly there is none: they are only
    /// moved from where there is one.
    fn remove_from(&mut self, start: usize, name: &[u8]) -> bool {
        let mut later = self.entries[start..].iter();
        let Some(first) = later.position(|(k, _)| is_named(k, name)) else {
            return false;
        };
        let removed = self
            .entries
            .extract_if(start + first.., |(k, _)| is_named(k, name));
        for (name, value) in removed {
            self.bytes -= name.len() + value.len();
            self.pseudo -= usize::from(is_pseudo(&name));
        }
        true
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        self.entries.clear();
        (self.pseudo, self.bytes) = (0, 0);
    }

    fn push(&mut self, name: Bytes, value: Bytes) {
        self.bytes += name.len() + value.len();
        if self.sorted {
            self.pseudo += usize::from(is_pseudo(&name));
            let place = self.entries.partition_point(|(k, _)| *k < name);
            self.entries.insert(place, (name, value));
        } else if is_pseudo(&name) {
            self.entries.insert(self.pseudo, (name, value));
            self.pseudo += 1;
        } else {
            self.entries.push((name, value));
        }
    }
}

impl<K: Into<Bytes>, V: Into<Bytes>> FromIterator<(K, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        let mut map = Self::with_capacity(pairs.size_hint().0);
        for (name, value) in pairs {
            map.add(name, value);
        }
        map
    }
}

/// Whether `key`, in lower case, is what `name` asks for, in any. Mostly that is in lower
/// case too.
#[inline]
fn is_named(key: &[u8], name: &[u8]) -> bool {
    key.len() == name.len() && (key == name || key.eq_ignore_ascii_case(name))
}

#[inline]
fn is_pseudo(name: &[u8]) -> bool {
    name.first() == Some(&b':')
}

/// Mostly all is in lower case, so all bytes are looked at, many at a time.
fn is_lower_case(name: &[u8]) -> bool {
    !(name.iter()).fold(false, |found, byte| found | byte.is_ascii_uppercase())
}

fn lower_case(name: Bytes) -> Bytes {
    if is_lower_case(&name) {
        name
    } else {
        name.to_ascii_lowercase().into()
    }
}

fn in_lower_case(name: &[u8]) -> Cow<'_, [u8]> {
    if is_lower_case(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().copied().collect()
    }

    fn text(map: &HeaderMap) -> String {
        map.iter()
            .map(|(k, v)| {
                format!(
                    "{}={}",
                    String::from_utf8_lossy(k),
                    String::from_utf8_lossy(v)
                )
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn order_and_duplicates_are_kept_and_names_lowered() {
        let m = map(&[("B", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(text(&m), "b=1 a=2 b=3");
        assert_eq!(m.get(b"B").unwrap(), "1");
        assert_eq!(m.get_all(b"b").count(), 2);
    }

    #[test]
    fn replace_removes_all_values_and_appends_one() {
        let mut m = map(&[("a", "1"), ("b", "2"), ("a", "3")]);
        m.replace("A", "x");
        assert_eq!(text(&m), "b=2 a=x");
        m.add("b", "4");
        m.replace_copied(b"B", "y");
        m.replace_copied(b"C", "z");
        assert_eq!(text(&m), "a=x b=y c=z");
        m.replace_copied(b"c", "last");
        assert_eq!(text(&m), "a=x b=y c=last");
        assert_eq!(m.byte_size(), 9);
        let mut m = map(&[(":path", "/"), (":method", "GET")]);
        m.replace(":method", "POST");
        m.replace("x", "1");
        assert_eq!(text(&m), ":path=/ :method=POST x=1");
    }

    #[test]
    fn pseudo_headers_stay_in_front() {
        let mut m = map(&[("x", "1"), (":path", "/"), ("y", "2")]);
        m.replace(":method", "GET");
        assert_eq!(text(&m), ":path=/ :method=GET x=1 y=2");
        m.remove(b":path");
        m.add(":scheme", "http");
        assert_eq!(text(&m), ":method=GET :scheme=http x=1 y=2");
    }

    #[test]
    fn values_that_envoy_joins_are_joined_where_the_first_stands() {
        let mut m = map(&[(":path", "/old"), ("content-length", "3"), ("x", "1")]);
        m.add(":path", "/second");
        m.add("Content-Length", "7");
        m.add("x", "2");
        assert_eq!(text(&m), ":path=/old,/second content-length=3,7 x=1 x=2");
    }

    #[test]
    fn a_sorted_map_has_one_value_a_name_in_order() {
        let mut m = HeaderMap::sorted();
        for (name, value) in [
            ("b", "1"),
            (":path", "/"),
            ("A", "2"),
            ("B", "3"),
            ("9", "4"),
        ] {
            m.add(name, value);
        }
        assert_eq!(text(&m), "9=4 :path=/ a=2 b=1, 3");
        m.replace("a", "5");
        m.remove(b":path");
        m.add("aa", "6");
        assert_eq!(text(&m), "9=4 a=5 aa=6 b=1, 3");
        assert_eq!(m.byte_size(), 12);
        m.clear();
        m.add("y", "");
        m.add("x", "");
        assert_eq!(text(&m), "x= y=");
    }

    #[test]
    fn overwriting_keeps_the_place_of_the_first_value() {
        let mut m = map(&[("set-cookie", "1"), ("b", "2"), ("set-cookie", "3")]);
        m.overwrite("set-cookie", "x");
        m.overwrite("c", "y");
        assert_eq!(text(&m), "set-cookie=x b=2 c=y");
    }

    #[test]
    fn byte_size_counts_names_and_values() {
        assert_eq!(map(&[("a", "12"), ("bc", "")]).byte_size(), 5);
    }

    #[test]
    fn byte_size_follows_every_change() {
        let mut m = map(&[
            (":path", "/"),
            ("a", "1"),
            ("b", "22"),
            ("a", "333"),
            ("c", "4"),
        ]);
        let check = |m: &HeaderMap| {
            let sum: usize = m.iter().map(|(k, v)| k.len() + v.len()).sum();
            assert_eq!(m.byte_size(), sum);
        };
        m.add(":path", "/joined");
        check(&m);
        m.overwrite("a", "55555");
        check(&m);
        m.overwrite("new", "6");
        check(&m);
        m.replace("b", "");
        check(&m);
        m.replace_copied(b"b", "4444");
        check(&m);
        m.remove(b"C");
        m.remove(b":path");
        check(&m);
        m.clear();
        check(&m);
    }
}
