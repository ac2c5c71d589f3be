//! The same messages in YAML: fields by their names, bytes as text.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use weir_config::{Element, unknown_key};

use super::locate::Places;
use crate::fields::{self, Read};

/// Reads a message and where its fields stand.
pub(super) fn read(
    descriptor: &MessageDescriptor,
    element: Element<'_>,
) -> Read<(DynamicMessage, Places)> {
    let mut places = Places::default();
    let message = message(descriptor, element, "", &mut places)?;
    Ok((message, places))
}

fn message(
    descriptor: &MessageDescriptor,
    element: Element<'_>,
    path: &str,
    places: &mut Places,
) -> Read<DynamicMessage> {
    let mut message = DynamicMessage::new(descriptor.clone());
    if element.is_null() {
        return Ok(message);
    }
    let name = descriptor.name();
    let Some(entries) = element.entries() else {
        return Err(fields::expected(
            element,
            &format!("the fields of a {name}"),
        ));
    };
    for (key, value) in entries {
        let by_name = descriptor.get_field_by_name(key.value);
        let field = by_name.or_else(|| descriptor.get_field_by_json_name(key.value));
        let Some(field) = field else {
            let known: Vec<_> = descriptor.fields().map(|f| f.name().to_owned()).collect();
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            let error =
                element.error_at(key.span, format!("a {name} has no field `{}`", key.value));
            return Err(unknown_key(error, key.value, &known).into());
        };
        if let Some(oneof) = field.containing_oneof().filter(|o| !o.is_synthetic())
            && let Some(other) = oneof.fields().find(|other| message.has_field(other))
        {
            let text = format!(
                "`{}` and `{}` cannot both be set",
                other.name(),
                field.name()
            );
            return Err(element.error_at(key.span, text).into());
        }
        let inner = match path.is_empty() {
            true => field.name().to_owned(),
            false => format!("{path}.{}", field.name()),
        };
        if field.is_list() {
            let mut list = Vec::new();
            for (index, item) in fields::list(value)?.into_iter().enumerate() {
                let path = format!("{inner}[{index}]");
                places.insert(path.clone(), item.at());
                list.push(scalar(&field, item, &path, places)?);
            }
            message.set_field(&field, Value::List(list));
        } else if !value.is_null() {
            let path = format!("{inner}[0]");
            places.insert(path.clone(), key.span);
            let value = scalar(&field, value, &path, places)?;
            message.set_field(&field, value);
        }
    }
    Ok(message)
}

fn scalar(
    field: &FieldDescriptor,
    element: Element<'_>,
    path: &str,
    places: &mut Places,
) -> Read<Value> {
    Ok(match field.kind() {
        Kind::Message(descriptor) => Value::Message(message(&descriptor, element, path, places)?),
        Kind::Bytes => Value::Bytes(fields::text(element)?.into()),
        Kind::Bool => Value::Bool(fields::bool(element)?),
        Kind::Int32 => Value::I32(fields::integer(element, "a whole number")?),
        Kind::Int64 => Value::I64(fields::integer(element, "a whole number")?),
        Kind::Uint32 => Value::U32(fields::integer(element, "a whole number from 0")?),
        Kind::Uint64 => Value::U64(fields::integer(element, "a whole number from 0")?),
        Kind::Enum(words) => {
            let known = element
                .text()
                .and_then(|word| words.get_value_by_name(word));
            let all: Vec<_> = words.values().map(|v| v.name().to_owned()).collect();
            let what = format!("one of {}", all.join(", "));
            Value::EnumNumber(
                known
                    .ok_or_else(|| fields::expected(element, &what))?
                    .number(),
            )
        }
        // Strings; the messages have no other kind.
        _ => Value::String(fields::text(element)?),
    })
}
