//! Header maps.

use std::rc::Rc;

use bytes::Bytes;

use super::{Cx, Outcome, Table};
use crate::callout::{HttpCallResponse, Received};
use crate::header_values::HeaderValues;
use crate::headers::HeaderMap;
use crate::limits::MAP_ENTRIES_MAX;
use crate::stream::StreamContext;
use crate::types::{AbiVersion, HttpMap, MapType, Status};
use crate::vm_limits::Limit;
use crate::vm_state::VmState;
use crate::wire;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_get_header_map_pairs", get_pairs);
    t.call("proxy_set_header_map_pairs", set_pairs);
    t.call("proxy_get_header_map_value", get_value);
    t.call("proxy_add_header_map_value", add_value);
    t.call("proxy_replace_header_map_value", replace_value);
    t.call("proxy_remove_header_map_value", remove_value);
    t.call("proxy_get_header_map_size", get_size);
}

fn map_type(map: u32) -> Result<MapType, Status> {
    MapType::from_wire(map).ok_or(Status::BadArgument)
}

/// What the guest sees of values that are not UTF-8.
fn header_values(state: &VmState) -> HeaderValues {
    state
        .root()
        .map_or_else(HeaderValues::default, |root| root.plugin.header_values)
}

/// A map that the guest may read now.
enum Readable {
    Stream(Rc<StreamContext>, HttpMap),
    Callout(Rc<HeaderMap>),
    /// The headers, or else the trailers, of a call's response.
    Call(Rc<HttpCallResponse>, MapType),
    /// One without anything in it.
    Empty,
}

impl Readable {
    fn of(state: &VmState, map: MapType) -> Result<Self, Status> {
        let Some(map) = map.http() else {
            return match Self::of_callout(state, map) {
                Some(map) => Ok(map),
                // While a stream is logged, each kind of map is there.
                None if state.stream().is_some_and(|s| s.is_logged()) => Ok(Self::Empty),
                None => Err(Status::BadArgument),
            };
        };
        let stream = state.stream().ok_or(Status::BadArgument)?;
        if stream.can_read(map) {
            Ok(Self::Stream(stream, map))
        } else {
            Err(Status::BadArgument)
        }
    }

    fn of_callout(state: &VmState, map: MapType) -> Option<Self> {
        match (map, state.callouts.received()?) {
            (MapType::CallResponseHeaders, Received::Http(response)) => {
                Some(Self::Call(response, map))
            }
            (MapType::CallResponseTrailers, Received::Http(response)) => {
                response.trailers.as_ref()?;
                Some(Self::Call(response, map))
            }
            (MapType::GrpcInitialMetadata, Received::InitialMetadata(map))
            | (MapType::GrpcTrailingMetadata, Received::TrailingMetadata(map)) => {
                Some(Self::Callout(map))
            }
            _ => None,
        }
    }

    /// What `f` makes of the map; `None` where a stream has none of its kind.
    fn with<R>(&self, f: impl FnOnce(&HeaderMap) -> R) -> Option<R> {
        match self {
            Self::Stream(cx, map) => cx.headers(*map).map(|headers| f(&headers)),
            Self::Callout(headers) => Some(f(headers)),
            Self::Call(response, MapType::CallResponseTrailers) => {
                response.trailers.as_ref().map(f)
            }
            Self::Call(response, _) => Some(f(&response.headers)),
            Self::Empty => None,
        }
    }

    /// The name under which the map holds `name`.
    fn canonical<'a>(&self, name: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Stream(_, map) => canonical(*map, name),
            Self::Callout(_) | Self::Call(..) | Self::Empty => name,
        }
    }
}

fn writable(state: &VmState, map: MapType) -> Result<(Rc<StreamContext>, HttpMap), Status> {
    let map = map.http().ok_or(Status::BadArgument)?;
    let stream = state.stream().ok_or(Status::BadArgument)?;
    if stream.can_write(map) {
        Ok((stream, map))
    } else {
        Err(Status::BadArgument)
    }
}

/// Changes a map of the stream at hand.
fn change(
    state: &VmState,
    map: MapType,
    change: impl FnOnce(&mut HeaderMap, HttpMap),
) -> Result<(), Status> {
    let (cx, map) = writable(state, map)?;
    let mut headers = cx.headers(map).ok_or(Status::BadArgument)?;
    change(&mut headers, map);
    drop(headers);
    if map == HttpMap::RequestHeaders {
        cx.stream.clear_route_cache();
    }
    Ok(())
}

/// In a request, `host` is another name of `:authority`.
pub(super) fn canonical(map: HttpMap, name: &[u8]) -> &[u8] {
    if map == HttpMap::RequestHeaders && name.eq_ignore_ascii_case(b"host") {
        b":authority"
    } else {
        name
    }
}

fn canonical_bytes(map: HttpMap, name: Bytes) -> Bytes {
    match canonical(map, &name) {
        b":authority" => Bytes::from_static(b":authority"),
        _ => name,
    }
}

/// A map that is not there is an empty one here, and `Ok`.
fn get_pairs(c: &mut Cx<'_>, map: u32, pairs_out: u32, length_out: u32) -> Outcome {
    let Ok(map) = Readable::of(c.state(), map_type(map)?) else {
        return c.give(&[], pairs_out, length_out);
    };
    let values = header_values(c.state());
    if let Some(pairs) = map.with(|headers| values.pairs(headers)).flatten() {
        let pairs = || pairs.iter().map(|(name, value)| (&name[..], &value[..]));
        let size = match pairs().next() {
            None => 0,
            Some(_) => wire::pairs_size(pairs()),
        };
        return c.give_with(size, pairs_out, length_out, |block| {
            wire::encode_pairs(pairs(), block);
        });
    }
    let size = map.with(|headers| match headers.is_empty() {
        true => 0,
        false => wire::pairs_size(headers.iter()),
    });
    c.give_with(size.unwrap_or(0), pairs_out, length_out, |block| {
        map.with(|headers| wire::encode_pairs(headers.iter(), block));
    })
}

/// Replaces the whole map. What cannot be decoded is an empty map.
fn set_pairs(c: &mut Cx<'_>, map: u32, pairs: u32, length: u32) -> Outcome {
    let map = map_type(map)?;
    let mut pairs = wire::decode_pairs(c.read(pairs, length)?).unwrap_or_default();
    let values = header_values(c.state());
    change(c.state(), map, |headers, map| {
        values.restore(headers, &mut pairs);
        headers.clear();
        for (name, value) in pairs {
            headers.add(canonical_bytes(map, name), value);
        }
    })?;
    Ok(())
}

/// The first value of a name.
fn get_value(
    c: &mut Cx<'_>,
    map: u32,
    name: u32,
    name_length: u32,
    value_out: u32,
    length_out: u32,
) -> Outcome {
    let map = map_type(map)?;
    let state = c.state();
    let name = c.read(name, name_length)?;
    let map = Readable::of(state, map)?;
    let value = map.with(|headers| headers.get(map.canonical(name)).cloned());
    let values = header_values(state);
    match value.flatten().and_then(|value| values.shown(&value)) {
        Some(value) => c.give(&value, value_out, length_out),
        None if state.abi == AbiVersion::V0_1_0 => c.give(&[], value_out, length_out),
        None => Err(Status::NotFound.into()),
    }
}

/// Whether a guest may make the map larger by this, up to `max` bytes.
fn has_room(headers: &HeaderMap, name: &[u8], value: &[u8], max: usize) -> bool {
    headers.len() < MAP_ENTRIES_MAX && headers.byte_size() + name.len() + value.len() <= max
}

fn done_if(fits: bool, state: &VmState) -> Outcome {
    if fits {
        return Ok(());
    }
    state.limit_reached(Limit::HeaderBytes);
    Err(Status::InternalFailure.into())
}

fn add_value(c: &mut Cx<'_>, map: u32, n: u32, n_length: u32, v: u32, v_length: u32) -> Outcome {
    let map = map_type(map)?;
    let name = c.read_bytes(n, n_length)?;
    let value = c.read_bytes(v, v_length)?;
    let max = c.state().config.limits.header_bytes;
    let mut fits = true;
    change(c.state(), map, |headers, map| {
        fits = has_room(headers, &name, &value, max);
        if fits {
            headers.add(canonical_bytes(map, name), value);
        }
    })?;
    done_if(fits, c.state())
}

fn replace_value(
    c: &mut Cx<'_>,
    map: u32,
    n: u32,
    n_length: u32,
    v: u32,
    v_length: u32,
) -> Outcome {
    let map = map_type(map)?;
    let state = c.state();
    let value = c.read_bytes(v, v_length)?;
    let name = c.read(n, n_length)?;
    let max = state.config.limits.header_bytes;
    let mut fits = true;
    change(state, map, |headers, map| {
        fits = has_room(headers, name, &value, max);
        if fits {
            headers.replace_copied(canonical(map, name), value);
        }
    })?;
    done_if(fits, state)
}

fn remove_value(c: &mut Cx<'_>, map: u32, name: u32, length: u32) -> Outcome {
    let map = map_type(map)?;
    let state = c.state();
    let name = c.read(name, length)?;
    change(state, map, |headers, map| {
        headers.remove(canonical(map, name));
    })?;
    Ok(())
}

/// Bytes of all names and values, of a map that can be changed.
fn get_size(c: &mut Cx<'_>, map: u32, size_out: u32) -> Outcome {
    let (cx, map) = writable(c.state(), map_type(map)?)?;
    let size = cx.headers(map).map_or(0, |h| h.byte_size());
    Ok(c.write_u32(size_out, u32::try_from(size).unwrap_or(u32::MAX))?)
}
