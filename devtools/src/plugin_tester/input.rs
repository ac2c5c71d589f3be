//! Headers that a test gives as the text of HTTP/1.

use http::Uri;
use weir_abi::HeaderMap;

/// Headers of a message; more would be no test.
const HEADERS_MAX: usize = 512;

/// The headers of a request or response whose head is `text`, with pseudo-headers for
/// its first line. The empty line at the end may be missing.
pub(super) fn http1(text: &[u8], is_request: bool) -> Result<HeaderMap, String> {
    let mut head = text.to_vec();
    head.extend_from_slice(b"\r\n\r\n");
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut map = HeaderMap::sorted();
    let wrong = |error: httparse::Error| format!("this is no head of a message of HTTP/1: {error}");
    let fields = if is_request {
        let mut request = httparse::Request::new(&mut fields);
        request.parse(&head).map_err(wrong)?;
        let method = request.method.unwrap_or_default();
        let target = request.path.unwrap_or_default();
        map.add(":method", method.to_owned());
        target_of(target, request.headers, &mut map)?;
        request.headers
    } else {
        let mut response = httparse::Response::new(&mut fields);
        response.parse(&head).map_err(wrong)?;
        map.add(
            ":status",
            format!("{:03}", response.code.unwrap_or_default()),
        );
        response.headers
    };
    let knows_authority = map.contains(b":authority");
    for field in fields.iter() {
        let is_host = field.name.eq_ignore_ascii_case("host");
        if !(is_request && is_host && knows_authority) {
            map.add(field.name.to_owned(), field.value.to_vec());
        }
    }
    Ok(map)
}

/// Scheme, authority and path of a target: the absolute form has them all; the origin
/// form has the path, and `Host` is its authority.
fn target_of(
    target: &str,
    fields: &[httparse::Header<'_>],
    map: &mut HeaderMap,
) -> Result<(), String> {
    let uri: Uri = target
        .parse()
        .map_err(|_| format!("`{target}` is no target of a request"))?;
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
        let default = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let host = authority.host().to_ascii_lowercase();
        let authority = match authority.port_u16().filter(|port| Some(*port) != default) {
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        map.add(":scheme", scheme.to_owned());
        map.add(":path", path.to_owned());
        map.add(":authority", authority);
        return Ok(());
    }
    if !target.starts_with('/') {
        return Err(format!("`{target}` is neither a URL nor a path"));
    }
    map.add(":path", target.to_owned());
    let host = fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("host"));
    if let Some(host) = host.filter(|host| !host.value.is_empty()) {
        map.add(":authority", host.value.to_vec());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(head: &str, is_request: bool) -> String {
        let map = http1(head.as_bytes(), is_request).unwrap();
        let pairs = map.iter().map(|(name, value)| {
            format!(
                "{}={}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            )
        });
        pairs.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_absolute_form_tells_all_and_host_goes() {
        assert_eq!(
            text(
                "GET https://API.test:443/a?b HTTP/1.1\r\nHost: other\r\nX-A: 1\r\n",
                true
            ),
            ":authority=api.test :method=GET :path=/a?b :scheme=https x-a=1"
        );
        assert_eq!(
            text("GET http://api.test:8080 HTTP/1.1", true),
            ":authority=api.test:8080 :method=GET :path=/ :scheme=http"
        );
    }

    #[test]
    fn the_origin_form_takes_its_authority_from_host() {
        assert_eq!(
            text("POST /a HTTP/1.1\nHost: api.test\nX-A: 1\nx-a: 2", true),
            ":authority=api.test :method=POST :path=/a x-a=1, 2"
        );
        assert_eq!(text("GET /a HTTP/1.1", true), ":method=GET :path=/a");
    }

    #[test]
    fn a_response_has_its_status_and_keeps_host() {
        assert_eq!(
            text("HTTP/1.1 404 Not Found\r\nHost: a\r\n\r\n", false),
            ":status=404 host=a"
        );
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for head in ["GET", "GET nowhere HTTP/1.1", "GET /a HTTP/1.1\r\nx y: 1"] {
            assert!(http1(head.as_bytes(), true).is_err(), "{head}");
        }
    }
}
