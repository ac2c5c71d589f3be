//! `proxy_call_foreign_function`: functions beyond the ABI, by name (Envoy,
//! `foreign.cc`), and those of the embedder ([`Host::call_foreign_function`]).
//!
//! A function acts on the context that the guest was called for, also where the
//! guest has chosen another by `proxy_set_effective_context`, as in Envoy. Two act on
//! the chosen one: `set_envoy_filter_state` and `clear_route_cache`.
//!
//! [`Host::call_foreign_function`]: crate::Host::call_foreign_function

mod compression;
mod expression;
mod filter_state;
mod message;
mod property;
mod signature;

use super::{Cx, Outcome, Stop, Table};
use crate::context::Context;
use crate::limits::FOREIGN_NAME_MAX;
use crate::types::Status;
use crate::vm_state::VmState;

pub(crate) use self::expression::Expressions;
pub(crate) use self::property::Declarations;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_call_foreign_function", call);
}

/// What a function gives: nothing, or bytes, perhaps of length 0, for which the
/// guest gets a block all the same.
type Given = Option<Vec<u8>>;

type Function = fn(&Call<'_>) -> Result<Given, Status>;

/// One call of a function.
struct Call<'a> {
    state: &'a VmState,
    /// The context that the guest was called for.
    context: &'a Context,
    argument: &'a [u8],
}

/// The functions that every VM has.
const FUNCTIONS: [(&[u8], Function); 10] = [
    (b"compress", compression::compress),
    (b"uncompress", compression::uncompress),
    (b"clear_route_cache", clear_route_cache),
    (b"expr_create", expression::create),
    (b"expr_evaluate", expression::evaluate),
    (b"expr_delete", expression::delete),
    (b"declare_property", property::declare),
    (b"set_envoy_filter_state", filter_state::set),
    (b"verify_signature", signature::verify),
    (b"sign", signature::sign),
];

fn call(
    c: &mut Cx<'_>,
    name: u32,
    name_length: u32,
    argument: u32,
    argument_length: u32,
    value_out: u32,
    length_out: u32,
) -> Outcome {
    let state = c.state().clone();
    let name = c.read(name, name_length)?;
    let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
    let own = match known {
        Some(_) => Vec::new(),
        None if name.len() > FOREIGN_NAME_MAX => return Err(Status::NotFound.into()),
        None => name.to_vec(),
    };
    let argument = c.read(argument, argument_length)?;
    let context = state.current().ok_or(Status::InternalFailure)?;
    let result = match known {
        Some((_, function)) => function(&Call {
            state: &state,
            context: &context,
            argument,
        }),
        None => match state
            .host
            .call_foreign_function(context.id(), &own, argument)
        {
            // Nothing is written for a name that there is not.
            None => return Err(Status::NotFound.into()),
            Some(result) => result.map(|bytes| (!bytes.is_empty()).then(|| bytes.to_vec())),
        },
    };
    match result {
        Ok(given) => give(c, given, value_out, length_out),
        Err(status) => {
            give(c, None, value_out, length_out)?;
            Err(status.into())
        }
    }
}

/// Hands over a result; a guest that wants none says so by null pointers.
fn give(c: &mut Cx<'_>, given: Given, value_out: u32, length_out: u32) -> Result<(), Stop> {
    if value_out == 0 || length_out == 0 {
        let length = given.map_or(0, |bytes| bytes.len());
        if value_out != 0 {
            c.write_u32(value_out, 0)?;
        }
        if length_out != 0 {
            c.write_u32(length_out, u32::try_from(length).unwrap_or(u32::MAX))?;
        }
        return Ok(());
    }
    match given {
        None => c.give(&[], value_out, length_out),
        Some(bytes) if bytes.is_empty() => {
            c.give(&[0], value_out, length_out)?;
            Ok(c.write_u32(length_out, 0)?)
        }
        Some(bytes) => c.give(&bytes, value_out, length_out),
    }
}

fn clear_route_cache(call: &Call<'_>) -> Result<Given, Status> {
    if let Some(cx) = call.state.stream() {
        cx.stream.clear_route_cache();
    }
    Ok(None)
}
