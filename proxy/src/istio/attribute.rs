//! What attributes come to, as texts.

use std::rc::Rc;

use weir_abi::{HeaderMap, HttpMap, Property, Stream as _};

use crate::stream::{FilteredStream, LogView};

/// Attributes of a request that are headers.
const HEADERS: [(&str, &str); 7] = [
    ("host", ":authority"),
    ("method", ":method"),
    ("path", ":path"),
    ("scheme", ":scheme"),
    ("useragent", "user-agent"),
    ("referer", "referer"),
    ("id", "x-request-id"),
];

/// The value of the attribute at `path`, if it has one.
pub(super) fn text(stream: &Rc<FilteredStream>, path: &[String]) -> Option<String> {
    let view = LogView(Rc::clone(stream));
    let header = |map: HttpMap, name: &str| {
        let headers = view.headers(map)?;
        value(&headers, name)
    };
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["request", "headers", name] => return header(HttpMap::RequestHeaders, name),
        ["response", "headers", name] => return header(HttpMap::ResponseHeaders, name),
        ["response", "trailers", name] => return header(HttpMap::ResponseTrailers, name),
        ["request", "url_path"] => {
            let path = header(HttpMap::RequestHeaders, ":path")?;
            let path = path.split('?').next().unwrap_or_default();
            return Some(path.to_owned());
        }
        ["request", name] => {
            if let Some((_, header_name)) = HEADERS.iter().find(|(known, _)| known == name) {
                return header(HttpMap::RequestHeaders, header_name);
            }
        }
        _ => {}
    }
    // The node stands by itself, too.
    let root: &[&str] = if path.first() == Some(&"node") {
        &["xds"]
    } else {
        &[]
    };
    let path: Vec<&[u8]> = root
        .iter()
        .chain(&path)
        .map(|part| part.as_bytes())
        .collect();
    match view.property(&path).ok()? {
        Property::Bytes(bytes) => String::from_utf8(bytes.into()).ok(),
        Property::Int(n) => Some(n.to_string()),
        Property::Uint(n) => Some(n.to_string()),
        Property::Double(n) => Some(n.to_string()),
        Property::Bool(truth) => Some(truth.to_string()),
        Property::Timestamp(_) | Property::Duration(_) | Property::Map(_) => None,
    }
}

fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}
