//! Properties (attributes): those derived from header maps and the plugin here,
//! all others by the stream.

use std::cell::RefMut;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::headers::canonical;
use super::{Cx, Outcome, Table};
use crate::context::Context;
use crate::headers::HeaderMap;
use crate::host::{PropertiesFull, Property, PropertyError, Refused};
use crate::limits::PROPERTY_SEGMENTS_MAX;
use crate::stream::StreamContext;
use crate::types::{HttpMap, Status};
use crate::vm_state::VmState;
use crate::wire;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_get_property", get_property);
    t.call("proxy_set_property", set_property);
}

fn get_property(
    c: &mut Cx<'_>,
    path: u32,
    path_length: u32,
    value_out: u32,
    length_out: u32,
) -> Outcome {
    let state = c.state().clone();
    let path = c.read(path, path_length)?;
    if path.is_empty() {
        return Err(Status::SerializationFailure.into());
    }
    let segments = wire::property_segments(path).take(PROPERTY_SEGMENTS_MAX + 1);
    let segments: Vec<&[u8]> = segments.collect();
    if segments.len() > PROPERTY_SEGMENTS_MAX {
        return Err(Status::NotFound.into());
    }
    let context = state.context().ok_or(Status::NotFound)?;
    let value = lookup(&state, &context, &segments).map_err(|e| match e {
        PropertyError::NotFound => Status::NotFound,
        PropertyError::NotSerializable => Status::SerializationFailure,
    })?;
    match value {
        Property::Bytes(bytes) => c.give(&bytes, value_out, length_out),
        Property::Int(n) => c.give(&n.to_le_bytes(), value_out, length_out),
        Property::Uint(n) => c.give(&n.to_le_bytes(), value_out, length_out),
        Property::Double(n) => c.give(&n.to_le_bytes(), value_out, length_out),
        Property::Bool(b) => c.give(&[u8::from(b)], value_out, length_out),
        Property::Timestamp(d) | Property::Duration(d) => {
            let nanoseconds = i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
            c.give(&nanoseconds.to_le_bytes(), value_out, length_out)
        }
        Property::Map(pairs) => {
            let pairs = pairs.iter().map(|(k, v)| (&k[..], &v[..]));
            let size = wire::pairs_size(pairs.clone());
            c.give_with(size, value_out, length_out, |block| {
                let fits = wire::encode_pairs(pairs, block);
                debug_assert!(fits, "the block is as large as the pairs");
            })
        }
    }
}

fn set_property(c: &mut Cx<'_>, p: u32, p_length: u32, v: u32, v_length: u32) -> Outcome {
    let path = c.read_bytes(p, p_length)?;
    let value = c.read_bytes(v, v_length)?;
    match c.state().context() {
        Some(Context::Stream(cx)) => {
            let rule = cx.root.declared.rule(&path);
            cx.stream
                .set_declared_property(&path, value, rule)
                .map_err(Refused::status)?;
        }
        Some(Context::Connection(cx)) => cx
            .connection
            .set_property(&path, value)
            .map_err(|PropertiesFull| Status::InternalFailure)?,
        Some(Context::Root(_)) | None => return Err(Status::NotFound.into()),
    }
    Ok(())
}

/// Groups that need a further segment.
const CONTAINERS: [&[u8]; 8] = [
    b"request",
    b"response",
    b"connection",
    b"source",
    b"destination",
    b"upstream",
    b"xds",
    b"filter_state",
];

/// Attributes of `xds` that older hosts had without that segment (Envoy until 1.32).
const BARE_NAMES: [&[u8]; 8] = [
    b"node",
    b"cluster_name",
    b"cluster_metadata",
    b"route_name",
    b"route_metadata",
    b"upstream_host_metadata",
    b"listener_direction",
    b"listener_metadata",
];

/// The property at `path` as `context` sees it. A bare name is one of `xds` unless a
/// filter has set a property of that name.
pub(super) fn lookup(
    state: &VmState,
    context: &Context,
    path: &[&[u8]],
) -> Result<Property, PropertyError> {
    if let Some(instead) = state.host.property_instead(context.id(), path) {
        return instead;
    }
    let found = lookup_exactly(state, context, path);
    match (&found, path) {
        (Err(PropertyError::NotFound), [name, ..]) if BARE_NAMES.contains(name) => {
            let path: Vec<&[u8]> = [&[&b"xds"[..]], path].concat();
            lookup_exactly(state, context, &path)
        }
        _ => found,
    }
}

fn lookup_exactly(
    state: &VmState,
    context: &Context,
    path: &[&[u8]],
) -> Result<Property, PropertyError> {
    let plugin = &context.root().plugin;
    match path {
        [b"plugin_name"] => return Ok(plugin.name.clone().into()),
        [b"plugin_root_id"] => return Ok(plugin.root_id.clone().into()),
        [b"plugin_vm_id"] => return Ok(state.config.vm_id.clone().into()),
        [group] if CONTAINERS.contains(group) => return Err(PropertyError::NotSerializable),
        _ => {}
    }
    match context {
        Context::Root(_) => state.host.property(path),
        Context::Stream(cx) => of_headers(cx, path).unwrap_or_else(|| cx.stream.property(path)),
        Context::Connection(cx) => match path {
            // No map is there, and as a whole that is an empty one.
            [b"request" | b"response", b"headers"] | [b"response", b"trailers"] => {
                Ok(Property::Map(Vec::new()))
            }
            path => cx.connection.property(path),
        },
    }
}

/// A property that a header map holds; `None` for any other.
fn of_headers(cx: &StreamContext, path: &[&[u8]]) -> Option<Result<Property, PropertyError>> {
    let (group, name, rest) = match path {
        [group, name, rest @ ..] => (*group, *name, rest),
        _ => return None,
    };
    let value = |map: HttpMap, name: &[u8]| -> Result<Property, PropertyError> {
        let headers = visible(cx, map)?;
        let value = headers.get(name).cloned();
        value.map(Into::into).ok_or(PropertyError::NotFound)
    };
    let request = |name: &[u8]| value(HttpMap::RequestHeaders, name);
    let result = match (group, name) {
        (b"request", b"path") => request(b":path"),
        (b"request", b"url_path") => {
            path_part(cx, |path, query| query.map_or(path, |q| &path[..q]))
        }
        (b"request", b"query") => path_part(cx, |path, query| {
            query.map_or(&path[..0], |q| &path[q + 1..])
        }),
        (b"request", b"host") => request(b":authority"),
        (b"request", b"scheme") => request(b":scheme"),
        (b"request", b"method") => request(b":method"),
        (b"request", b"referer") => request(b"referer"),
        (b"request", b"useragent") => request(b"user-agent"),
        (b"request", b"id") => request(b"x-request-id"),
        (b"request", b"headers") => return Some(headers(cx, HttpMap::RequestHeaders, rest)),
        (b"response", b"headers") => return Some(headers(cx, HttpMap::ResponseHeaders, rest)),
        (b"response", b"trailers") => return Some(headers(cx, HttpMap::ResponseTrailers, rest)),
        _ => return None,
    };
    Some(if rest.is_empty() {
        result
    } else {
        Err(PropertyError::NotFound)
    })
}

fn visible(cx: &StreamContext, map: HttpMap) -> Result<RefMut<'_, HeaderMap>, PropertyError> {
    if !cx.can_read(map) {
        return Err(PropertyError::NotFound);
    }
    cx.headers(map).ok_or(PropertyError::NotFound)
}

/// Part of `:path`; `pick` gets it without fragment, and where the `?` is.
fn path_part(
    cx: &StreamContext,
    pick: impl Fn(&[u8], Option<usize>) -> &[u8],
) -> Result<Property, PropertyError> {
    let headers = visible(cx, HttpMap::RequestHeaders)?;
    let path = headers.get(b":path").ok_or(PropertyError::NotFound)?;
    let end = path.iter().position(|b| *b == b'#').unwrap_or(path.len());
    let query = path[..end].iter().position(|b| *b == b'?');
    Ok(path.slice_ref(pick(&path[..end], query)).into())
}

/// A whole map, or one name of it; values of a repeated name are joined. A map
/// that is not visible is empty as a whole.
fn headers(cx: &StreamContext, map: HttpMap, rest: &[&[u8]]) -> Result<Property, PropertyError> {
    let headers = visible(cx, map);
    match rest {
        [] => {
            let mut values: BTreeMap<&Bytes, Vec<&Bytes>> = BTreeMap::new();
            let entries = headers.as_ref().map_or(&[][..], |h| h.entries());
            for (name, value) in entries {
                values.entry(name).or_default().push(value);
            }
            let joined = values
                .into_iter()
                .filter_map(|(name, values)| Some((name.clone(), join(values.into_iter())?)));
            Ok(Property::Map(joined.collect()))
        }
        [name] => join(headers?.get_all(canonical(map, name)))
            .map(Into::into)
            .ok_or(PropertyError::NotFound),
        _ => Err(PropertyError::NotFound),
    }
}

fn join<'a>(mut values: impl Iterator<Item = &'a Bytes>) -> Option<Bytes> {
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(first.clone());
    };
    let mut joined = [&first[..], b",", second].concat();
    for value in values {
        joined.push(b',');
        joined.extend_from_slice(value);
    }
    Some(joined.into())
}
