//! The path: fragments, escaped slashes, `.` and `..`, double slashes.

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::{EscapedSlashes, HttpOptions};

use super::Rejected;

pub(super) fn prepare(headers: &mut HeaderMap, options: &HttpOptions) -> Result<(), Rejected> {
    let Some(path) = headers.get(b":path").cloned() else {
        return Ok(());
    };
    if !path.starts_with(b"/") && headers.get(b":method").is_none_or(|m| m != "CONNECT") {
        return Err(Rejected::NoPath);
    }
    if path.contains(&b'#') {
        return Err(Rejected::Fragment);
    }
    let changes = options.normalize_path
        || options.merge_slashes
        || options.path_with_escaped_slashes_action != EscapedSlashes::KeepUnchanged;
    if !changes || !path.starts_with(b"/") {
        return Ok(());
    }
    let (start, query) = path.split_at(path.iter().position(|b| *b == b'?').unwrap_or(path.len()));
    let mut new = start.to_vec();
    let unescaped = escaped_slashes(&mut new, options.path_with_escaped_slashes_action)?;
    if options.normalize_path {
        new = normalized(&new).ok_or(Rejected::Path)?;
    }
    if options.merge_slashes {
        new.dedup_by(|b, a| *a == b'/' && *b == b'/');
    }
    if new != start {
        new.extend_from_slice(query);
        let new = Bytes::from(new);
        headers.replace(":path", new.clone());
        if unescaped
            && options.path_with_escaped_slashes_action == EscapedSlashes::UnescapeAndRedirect
        {
            let grpc = headers.get(b"content-type");
            if grpc.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
                return Err(Rejected::Path);
            }
            return Err(Rejected::Redirect { location: new });
        }
    }
    Ok(())
}

/// Treats `%2F` and `%5C` as `action` says; whether there were any.
fn escaped_slashes(path: &mut Vec<u8>, action: EscapedSlashes) -> Result<bool, Rejected> {
    if action == EscapedSlashes::KeepUnchanged {
        return Ok(false);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = &path[..];
    while let Some((&byte, behind)) = rest.split_first() {
        match rest {
            [b'%', b'2', b'f' | b'F', behind @ ..] => {
                out.push(b'/');
                rest = behind;
            }
            [b'%', b'5', b'c' | b'C', behind @ ..] => {
                out.push(b'\\');
                rest = behind;
            }
            _ => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    let found = out.len() < path.len();
    if found && action == EscapedSlashes::RejectRequest {
        return Err(Rejected::Path);
    }
    *path = out;
    Ok(found)
}

/// A path in the form that browsers use (WHATWG URL): `.` and `..` resolved,
/// backslashes as slashes, unreserved characters without escapes and those
/// that a URL cannot have with. `None` if it has a NUL.
fn normalized(path: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let byte = path[at];
        at += 1;
        if byte == b'%' {
            match escape(&path[at..]) {
                Some(0) => return None,
                Some(decoded) if is_unreserved(decoded) => {
                    plain.push(decoded);
                    at += 2;
                }
                _ => plain.push(byte),
            }
        } else if byte == b'\\' {
            plain.push(b'/');
        } else if byte == 0 {
            return None;
        } else if needs_escape(byte) {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            plain.extend_from_slice(&[b'%', HEX[high], HEX[low]]);
        } else {
            plain.push(byte);
        }
    }
    Some(without_dots(&plain))
}

/// The byte that two hexadecimal digits behind a `%` stand for.
fn escape(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

fn needs_escape(byte: u8) -> bool {
    !byte.is_ascii_graphic()
        || matches!(byte, b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let segments: Vec<&[u8]> = path[1..].split(|b| *b == b'/').collect();
    let last = segments.len() - 1;
    let mut kept: Vec<&[u8]> = Vec::with_capacity(segments.len());
    for (index, segment) in segments.into_iter().enumerate() {
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    kept.pop();
                }
                if index == last {
                    // The path ends with a slash then.
                    kept.push(b"");
                }
            }
            segment => kept.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(path: &'static str, options: &HttpOptions) -> Result<String, Rejected> {
        let mut headers: HeaderMap = [(":path", path)].into_iter().collect();
        prepare(&mut headers, options)?;
        let path = headers.get(b":path").map_or(&b""[..], |path| path);
        Ok(String::from_utf8_lossy(path).into_owned())
    }

    #[test]
    fn paths_are_normalized_as_envoy_does() {
        let options = HttpOptions {
            normalize_path: true,
            merge_slashes: true,
            ..HttpOptions::default()
        };
        // What Envoy 1.40 makes of them.
        for (path, expected) in [
            ("/a/../b", "/b"),
            ("/%41%2e%2E/x", "/A../x"),
            ("/a//b//c?x//y", "/a/b/c?x//y"),
            ("/..", "/"),
            ("/a/./b/", "/a/b/"),
            ("/a%2Fb%5Cc", "/a%2Fb%5Cc"),
            ("/a\\b", "/a/b"),
            ("/a%zz", "/a%zz"),
            ("/~%7E%2D%5f%21%20", "/~~-_%21%20"),
            ("/api/%2e%2e/x", "/x"),
            ("/a;b=1/../c", "/c"),
            ("/a%2", "/a%2"),
            ("/a|b\"<>^`{}", "/a%7Cb%22%3C%3E%5E%60%7B%7D"),
            ("/a'b", "/a'b"),
            ("//..//x", "/x"),
            ("/a/..%2f..", "/a/..%2f.."),
        ] {
            assert_eq!(prepared(path, &options).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(prepared("/a%00b", &options), Err(Rejected::Path));
    }

    #[test]
    fn a_path_stays_as_it_is_unless_asked_for() {
        let options = HttpOptions::default();
        let path = "/a//../%41%2F\\b";
        assert_eq!(prepared(path, &options).as_deref(), Ok(path));
        for path in ["*", ""] {
            assert_eq!(prepared(path, &options), Err(Rejected::NoPath));
        }
        assert_eq!(prepared("/x#f", &options), Err(Rejected::Fragment));
    }

    #[test]
    fn escaped_slashes_are_treated_as_asked() {
        let with = |action| HttpOptions {
            path_with_escaped_slashes_action: action,
            ..HttpOptions::default()
        };
        let path = "/a%2Fb%5cc?x%2F";
        let forward = with(EscapedSlashes::UnescapeAndForward);
        assert_eq!(prepared(path, &forward).as_deref(), Ok("/a/b\\c?x%2F"));
        let reject = with(EscapedSlashes::RejectRequest);
        assert_eq!(prepared(path, &reject), Err(Rejected::Path));
        assert_eq!(prepared("/ok?%2F", &reject).as_deref(), Ok("/ok?%2F"));
        let redirect = with(EscapedSlashes::UnescapeAndRedirect);
        let location = Bytes::from_static(b"/a/b\\c?x%2F");
        assert_eq!(
            prepared(path, &redirect),
            Err(Rejected::Redirect { location })
        );
    }
}
