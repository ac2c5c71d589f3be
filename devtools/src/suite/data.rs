//! Bytes, headers and properties that a suite hands to a filter.

use std::path::Path;

use bytes::Bytes;
use weir_abi::{HeaderMap, Property};
use weir_config::Element;

use crate::driver::Properties;
use crate::fields::{self, Fields, Read};

/// Bytes: a scalar stands for itself.
pub(super) fn bytes(element: Element<'_>, folder: &Path) -> Read<Bytes> {
    if let Some(text) = element.text() {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let fields = Fields::open(
        element,
        "a value",
        &["file", "base64", "json", "repeat", "times"],
    )?;
    let of = |key| fields.get(key);
    match (
        of("file"),
        of("base64"),
        of("json"),
        of("repeat"),
        of("times"),
    ) {
        (Some(file), None, None, None, None) => Ok(fields::file(file, folder)?.into()),
        (None, Some(base64), None, None, None) => Ok(base64.base64()?.into()),
        (None, None, Some(json), None, None) => Ok(json.json()?.to_string().into()),
        (None, None, None, Some(text), Some(times)) => {
            let times: u32 = fields::integer(times, "a whole number from 0")?;
            let text = fields::text(text)?;
            if text.len().saturating_mul(times as usize) > REPEATED_BYTES_MAX {
                let message = format!("these are more than {REPEATED_BYTES_MAX} bytes");
                return Err(element.error(message).into());
            }
            Ok(text.repeat(times as usize).into())
        }
        _ => Err(fields::expected(
            element,
            "a string, or one of `file`, `base64`, `json`, or `repeat` with `times`",
        )),
    }
}

/// So much can `repeat` make: a filter's memory has less room.
const REPEATED_BYTES_MAX: usize = 256 << 20;

/// A body: one piece, or a list of them.
pub(super) fn pieces(element: Element<'_>, folder: &Path) -> Read<Vec<Bytes>> {
    match element.items() {
        Some(items) => items.into_iter().map(|item| bytes(item, folder)).collect(),
        None => Ok(vec![bytes(element, folder)?]),
    }
}

/// Headers by their names; a list gives a name several values.
pub(super) fn headers(element: Element<'_>, folder: &Path, map: &mut HeaderMap) -> Read<()> {
    let entries = element.entries();
    let entries = entries.ok_or_else(|| fields::expected(element, "headers by their names"))?;
    for (name, values) in entries {
        for value in pieces(values, folder)? {
            map.add(name.value.to_owned(), value);
        }
    }
    Ok(())
}

/// Properties by their paths: strings, whole numbers, truth values, and mappings of
/// strings; `{ double: 1.5 }`, `{ duration: 10ms }` and `{ base64: … }` for what has no
/// form of its own.
pub(super) fn properties(element: Element<'_>) -> Read<Properties> {
    let mut properties = Properties::default();
    let entries = element.entries();
    let entries = entries.ok_or_else(|| fields::expected(element, "properties by their paths"))?;
    for (path, value) in entries {
        properties.0.insert(path.value.to_owned(), property(value)?);
    }
    Ok(properties)
}

fn property(element: Element<'_>) -> Read<Property> {
    if let Some(value) = element.bool() {
        return Ok(Property::Bool(value));
    }
    if let Some(value) = element.integer() {
        return Ok(Property::Int(value));
    }
    if let Some(text) = element.text() {
        return Ok(text.to_owned().into());
    }
    let entries = element.entries();
    let entries = entries.ok_or_else(|| fields::expected(element, "the value of a property"))?;
    if let [(key, value)] = entries[..] {
        match key.value {
            "double" => {
                let number = value.number();
                let number = number.ok_or_else(|| fields::expected(value, "a number"))?;
                return Ok(Property::Double(number));
            }
            "duration" => return Ok(Property::Duration(value.duration()?)),
            "base64" => return Ok(Property::Bytes(value.base64()?.into())),
            _ => {}
        }
    }
    let pair = |(key, value): &(weir_config::Spanned<&str>, Element<'_>)| {
        let value = fields::text(*value)?;
        Ok((Bytes::copy_from_slice(key.value.as_bytes()), value.into()))
    };
    let pairs = entries.iter().map(pair).collect::<Read<Vec<_>>>()?;
    Ok(Property::Map(pairs))
}

/// Values by their keys.
pub(super) fn values(element: Element<'_>, folder: &Path) -> Read<Vec<(Bytes, Bytes)>> {
    let entries = element.entries();
    let entries = entries.ok_or_else(|| fields::expected(element, "values by their keys"))?;
    let value = |(key, value): (weir_config::Spanned<&str>, Element<'_>)| {
        Ok((
            Bytes::copy_from_slice(key.value.as_bytes()),
            bytes(value, folder)?,
        ))
    };
    entries.into_iter().map(value).collect()
}
