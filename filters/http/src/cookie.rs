//! The `cookie` header (RFC 6265, section 4.2).

/// The value of the first cookie of this name, without quotes around it.
#[must_use]
pub fn get<'h>(header: &'h str, name: &str) -> Option<&'h str> {
    let value = pairs(header).find_map(|(n, value)| (n == name).then_some(value))?;
    let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    Some(unquoted.unwrap_or(value))
}

/// The header without cookies of this name; none when nothing is left.
#[must_use]
pub fn without(header: &str, name: &str) -> Option<String> {
    let rest: Vec<&str> = crumbs(header)
        .filter(|crumb| split(crumb).0 != name)
        .collect();
    (!rest.is_empty()).then(|| rest.join("; "))
}

fn crumbs(header: &str) -> impl Iterator<Item = &str> {
    let crumbs = header.split(';').map(str::trim);
    crumbs.filter(|crumb| !crumb.is_empty())
}

fn pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    crumbs(header).map(split)
}

fn split(crumb: &str) -> (&str, &str) {
    let (name, value) = crumb.split_once('=').unwrap_or((crumb, ""));
    (name.trim_end(), value.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts() {
        let header = "a=1; key=x=y;key=z; quoted=\"q\"";
        assert_eq!(get(header, "a"), Some("1"));
        assert_eq!(get(header, "key"), Some("x=y"));
        assert_eq!(get(header, "quoted"), Some("q"));
        assert_eq!(get(header, "ke"), None);
        assert_eq!(get("flag", "flag"), Some(""));
    }

    #[test]
    fn all_of_a_name_are_taken_away() {
        assert_eq!(
            without("a=1; k=2; b=3; k=4", "k").as_deref(),
            Some("a=1; b=3")
        );
        assert_eq!(without("k=2", "k"), None);
        assert_eq!(without("a=1", "k").as_deref(), Some("a=1"));
    }
}
