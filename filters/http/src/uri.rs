//! The URI that a client asked for.

use crate::Headers;

/// Bytes of a path that are told to the client again, as in Envoy.
const PATH_BYTES_MAX: usize = 256;

/// The URI as the realm of a `www-authenticate` (RFC 9110, section 11.5), in
/// quotes: Envoy's filters name that.
pub fn realm(request: &impl Headers) -> String {
    let header = |name: &str| request.get(name);
    let scheme = header("x-forwarded-proto").or_else(|| header(":scheme"));
    let scheme = scheme.unwrap_or_else(|| "http".to_owned());
    let authority = header(":authority").unwrap_or_default();
    let mut path = header(":path").unwrap_or_default();
    if path.len() > PATH_BYTES_MAX {
        path.truncate(path.floor_char_boundary(PATH_BYTES_MAX));
    }
    quoted(&format!("{scheme}://{authority}{path}"))
}

/// A quoted string (RFC 9110, section 5.6.4).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked(&'static str);

    impl Headers for Asked {
        fn get(&self, name: &str) -> Option<String> {
            match name {
                ":authority" => Some("h".to_owned()),
                ":path" => Some(self.0.to_owned()),
                _ => None,
            }
        }

        fn set(&self, _name: &str, _value: Option<&str>) {}
    }

    #[test]
    fn what_could_end_the_quotes_is_escaped() {
        assert_eq!(realm(&Asked("/x?y=1")), r#""http://h/x?y=1""#);
        assert_eq!(realm(&Asked("/\",a=\"\\")), r#""http://h/\",a=\"\\""#);
    }

    #[test]
    fn a_long_path_is_cut() {
        let path: &str = Box::leak(format!("/{}", "x".repeat(300)).into_boxed_str());
        assert_eq!(
            realm(&Asked(path)).len(),
            "\"http://h\"".len() + PATH_BYTES_MAX
        );
    }
}
