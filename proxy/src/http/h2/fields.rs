//! Messages between the `http` crate's types and ordered maps with
//! pseudo-headers. Filters see a protocol switch in the form of HTTP/1.1, on
//! either version, as in Envoy.

use bytes::{Bytes, BytesMut};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use weir_abi::HeaderMap;

use super::super::Switch;
use super::super::fields::{self, HeadError};
use crate::http::length::DeclaredLength;

/// A request's headers as filters see them, and the protocol that it asks to
/// switch to.
pub(super) fn request_map<B>(request: &Request<B>) -> (HeaderMap, Option<Switch>) {
    let protocol = request.extensions().get::<h2::ext::Protocol>();
    let protocol = protocol.map(|p| Bytes::copy_from_slice(p.as_ref()));
    let connect = request.method() == Method::CONNECT;
    let fields = request.headers();
    let mut map = HeaderMap::with_capacity(fields.len() + 6);
    let method = if protocol.is_some() {
        "GET"
    } else {
        request.method().as_str()
    };
    map.add(":method", method.to_owned());
    let uri = request.uri();
    if !connect || protocol.is_some() {
        map.add(":scheme", uri.scheme_str().unwrap_or("http").to_owned());
    }
    let host = fields.get("host").map(HeaderValue::as_bytes);
    let authority = uri.authority().map(|a| a.as_str().as_bytes()).or(host);
    if let Some(authority) = authority {
        map.add(":authority", Bytes::copy_from_slice(authority));
    }
    if let Some(path) = uri.path_and_query()
        && (!connect || protocol.is_some())
    {
        map.add(":path", path.as_str().to_owned());
    }
    copy_fields(fields, &mut map, &["host", "cookie"]);
    if let Some(protocol) = &protocol {
        map.add("upgrade", protocol.clone());
        map.add("connection", "upgrade");
    }
    // A client may send its cookies one by one; everybody else wants them
    // together (RFC 9113, section 8.2.3).
    let cookies: Vec<&[u8]> = fields
        .get_all("cookie")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if !cookies.is_empty() {
        map.add("cookie", cookies.join(&b"; "[..]));
    }
    let switch = match protocol {
        Some(protocol) => Some(Switch::Upgrade(protocol)),
        None => connect.then_some(Switch::Connect),
    };
    (map, switch)
}

/// A response's headers as filters see them. `switch`: what the request asked to
/// switch to.
pub(super) fn response_map<B>(response: &Response<B>, switch: Option<&Switch>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(response.headers().len() + 4);
    match switch {
        Some(Switch::Upgrade(protocol)) if response.status() == StatusCode::OK => {
            map.add(":status", "101");
            copy_fields(response.headers(), &mut map, &[]);
            map.add("upgrade", protocol.clone());
            map.add("connection", "upgrade");
        }
        _ => {
            map.add(":status", response.status().as_str().to_owned());
            copy_fields(response.headers(), &mut map, &[]);
        }
    }
    map
}

/// Trailers as filters see them.
pub(super) fn trailers_map(trailers: &http::HeaderMap) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(trailers.len());
    copy_fields(trailers, &mut map, &[]);
    map
}

/// Copies fields into a map, all bytes in one piece of memory.
fn copy_fields(fields: &http::HeaderMap, map: &mut HeaderMap, but: &[&str]) {
    let wanted = || {
        fields
            .iter()
            .filter(|(name, _)| !but.contains(&name.as_str()))
    };
    let size = wanted().map(|(n, v)| n.as_str().len() + v.len()).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for (name, value) in wanted() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        let name = bytes.split().freeze();
        bytes.extend_from_slice(value.as_bytes());
        map.add(name, bytes.split().freeze());
    }
}

/// A request for an HTTP/2 endpoint.
pub(super) fn request(
    map: &HeaderMap,
    switch: Option<&Switch>,
) -> Result<(Request<()>, DeclaredLength), HeadError> {
    let method = map.get(b":method").ok_or(HeadError::Missing(":method"))?;
    let method = Method::from_bytes(method).map_err(|_| HeadError::InvalidPseudo(":method"))?;
    let connect = method == Method::CONNECT;
    if connect != (switch == Some(&Switch::Connect)) {
        return Err(HeadError::InvalidPseudo(":method"));
    }
    let protocol = match switch {
        Some(Switch::Upgrade(protocol)) => Some(protocol),
        Some(Switch::Connect) | None => None,
    };
    let mut uri = Uri::builder();
    let authority = map.get(b":authority").filter(|a| !a.is_empty());
    let has_authority = authority.is_some();
    if let Some(authority) = authority {
        if !fields::is_authority(authority) {
            return Err(HeadError::InvalidPseudo(":authority"));
        }
        let authority = Authority::from_maybe_shared(authority.clone());
        uri = uri.authority(authority.map_err(|_| HeadError::InvalidPseudo(":authority"))?);
    } else if connect {
        return Err(HeadError::Missing(":authority"));
    }
    if !connect {
        let path = map.get(b":path").ok_or(HeadError::Missing(":path"))?;
        if !fields::is_target(path) {
            return Err(HeadError::InvalidPseudo(":path"));
        }
        let path = PathAndQuery::from_maybe_shared(path.clone());
        uri = uri.path_and_query(path.map_err(|_| HeadError::InvalidPseudo(":path"))?);
        let scheme = map.get(b":scheme").map_or(&b"http"[..], |s| &s[..]);
        let scheme = Scheme::try_from(scheme);
        let scheme = scheme.map_err(|_| HeadError::InvalidPseudo(":scheme"))?;
        if has_authority {
            uri = uri.scheme(scheme);
        }
    }
    let uri = uri.build();
    let mut request = Request::new(());
    if !has_authority {
        // `h2` takes a request without authority as one that came by HTTP/1, and
        // gives it a scheme.
        *request.version_mut() = http::Version::HTTP_11;
    }
    *request.method_mut() = if protocol.is_some() {
        Method::CONNECT
    } else {
        method
    };
    *request.uri_mut() = uri.map_err(|_| HeadError::InvalidPseudo(":path"))?;
    if let Some(protocol) = protocol {
        let protocol = String::from_utf8_lossy(protocol);
        let protocol = h2::ext::Protocol::from(&*protocol);
        request.extensions_mut().insert(protocol);
    }
    put_fields(fields::outgoing(map, None), request.headers_mut())?;
    let length = if switch.is_some() {
        request.headers_mut().remove(http::header::CONTENT_LENGTH);
        DeclaredLength::NONE
    } else {
        DeclaredLength::of(map)?
    };
    Ok((request, length))
}

/// A response for an HTTP/2 client. A switch of protocols is a plain success
/// there (RFC 8441, section 5).
pub(super) fn response(
    map: &HeaderMap,
    switch: Option<&Switch>,
) -> Result<Response<()>, HeadError> {
    let code = fields::status(map, switch)?;
    let has_length = code != 204 && !switch.is_some_and(|s| s.is_granted(code));
    let code = if code == 101 { 200 } else { code };
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(code).map_err(|_| HeadError::InvalidPseudo(":status"))?;
    put_fields(fields::outgoing(map, None), response.headers_mut())?;
    if !has_length {
        // There is nothing to measure (RFC 9110, section 8.6).
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
    }
    Ok(response)
}

/// A 1xx response; fields that are not well-formed are left out.
pub(super) fn informational(map: &HeaderMap) -> Option<Response<()>> {
    let code = fields::informational_status(map)?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(code).ok()?;
    put_fields(
        fields::outgoing(map, None).filter(Result::is_ok),
        response.headers_mut(),
    )
    .ok()?;
    Some(response)
}

/// Trailers for the wire.
pub(super) fn trailers(map: &HeaderMap) -> http::HeaderMap {
    let mut trailers = http::HeaderMap::with_capacity(map.len());
    // What `outgoing_trailers` lets pass is well-formed.
    let _ = put_fields(fields::outgoing_trailers(map).map(Ok), &mut trailers);
    trailers
}

fn put_fields<'a>(
    fields: impl Iterator<Item = Result<(&'a Bytes, &'a Bytes), HeadError>>,
    out: &mut http::HeaderMap,
) -> Result<(), HeadError> {
    for field in fields {
        let (name, value) = field?;
        let text = || String::from_utf8_lossy(name).into_owned();
        let checked = HeaderName::from_bytes(name);
        let checked = checked.map_err(|_| HeadError::InvalidName(text()))?;
        if checked == http::header::TE {
            // All that it may say in HTTP/2 (RFC 9113, section 8.2.2).
            out.insert(checked, HeaderValue::from_static("trailers"));
            continue;
        }
        // White space at the ends has no meaning, and HTTP/2 forbids it.
        let value = value.slice_ref(value.trim_ascii());
        let value = HeaderValue::from_maybe_shared(value);
        let value = value.map_err(|_| HeadError::InvalidValue(text()))?;
        let sent = out.try_append(checked, value);
        sent.map_err(|_| HeadError::TooLarge)?;
    }
    Ok(())
}
