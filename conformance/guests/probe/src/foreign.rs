//! Foreign functions.

use std::ptr;

use crate::abi;
use crate::answer::{Answer, given, status};
use crate::state::State;

fn raw(function: &[u8], argument: &[u8], data: *mut *const u8, length: *mut usize) -> u32 {
    // SAFETY: the pointers are those of live slices, and what the host gives goes to
    // live variables or, for null pointers, nowhere.
    unsafe {
        abi::proxy_call_foreign_function(
            function.as_ptr(),
            function.len(),
            argument.as_ptr(),
            argument.len(),
            data,
            length,
        )
    }
}

/// Calls a function and remembers what it gives.
pub fn call(function: &[u8], argument: &[u8], show: impl Fn(&[u8]) -> String) -> Answer {
    given(
        |data, length| raw(function, argument, data, length),
        |bytes| {
            State::set_last_bytes(bytes);
            show(bytes)
        },
    )
}

/// Calls a function without a place for what it gives.
pub fn discard(function: &[u8], argument: &[u8]) -> Answer {
    raw(function, argument, ptr::null_mut(), ptr::null_mut()).into()
}

/// Whether a function has written an address and a length.
pub fn words(function: &[u8], argument: &[u8]) -> Answer {
    let (mut data, mut length) = (ptr::without_provenance(77), 77);
    let status = raw(function, argument, &mut data, &mut length);
    let text = match data as usize {
        77 => format!("untouched {length}"),
        0 => format!("null {length}"),
        _ => format!("something {length}"),
    };
    Answer { status, text }
}

/// Creates an expression, evaluates it, deletes it.
pub fn evaluate(expression: &[u8], show: impl Fn(&[u8]) -> String) -> Answer {
    let (mut token, mut length) = (ptr::null(), 0);
    let created = raw(b"expr_create", expression, &mut token, &mut length);
    if created != 0 || token.is_null() {
        return Answer {
            status: created,
            text: "at creation".to_owned(),
        };
    }
    // SAFETY: the host has allocated and filled it
    let token = unsafe { std::slice::from_raw_parts(token, length) };
    let answer = call(b"expr_evaluate", token, show);
    let deleted = discard(b"expr_delete", token).status;
    if deleted != 0 {
        return Answer {
            status: deleted,
            text: format!("at deletion, after {}", status(answer.status)),
        };
    }
    answer
}
