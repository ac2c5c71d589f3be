//! The query of a `:path`.

use percent_encoding::percent_decode_str;

/// The path up to the query.
#[must_use]
pub fn path(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// The decoded value of the first parameter of this name. None also if it is not
/// UTF-8.
#[must_use]
pub fn get(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let value = query.split('&').find_map(|parameter| {
        let (n, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        is(n, name).then_some(value)
    })?;
    let decoded = percent_decode_str(value).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// The target without parameters of this name.
#[must_use]
pub fn without(target: &str, name: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let rest: Vec<&str> = query
        .split('&')
        .filter(|p| !is(p.split_once('=').map_or(*p, |(n, _)| n), name))
        .collect();
    match rest.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", rest.join("&")),
    }
}

fn is(encoded: &str, name: &str) -> bool {
    percent_decode_str(encoded).eq(name.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(
            get("/x?a=1&k%65y=b%20c&key=d", "key").as_deref(),
            Some("b c")
        );
        assert_eq!(get("/x?flag", "flag").as_deref(), Some(""));
        assert_eq!(get("/x?a=%ff", "a"), None);
        assert_eq!(get("/x?a=1", "b"), None);
        assert_eq!(get("/x", "b"), None);
    }

    #[test]
    fn all_of_a_name_are_taken_away() {
        assert_eq!(without("/x?a=1&k=2&b=3&%6b=4", "k"), "/x?a=1&b=3");
        assert_eq!(without("/x?k=2", "k"), "/x");
        assert_eq!(without("/x", "k"), "/x");
    }

    #[test]
    fn the_path_ends_at_the_query() {
        assert_eq!(path("/x/y?z?"), "/x/y");
        assert_eq!(path("/x"), "/x");
    }
}
