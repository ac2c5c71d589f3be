//! What hostcalls answer.

use std::ptr;

use crate::state::State;

/// A result of a hostcall: its status and what it wrote.
pub struct Answer {
    pub status: u32,
    pub text: String,
}

impl From<u32> for Answer {
    fn from(status: u32) -> Self {
        Self {
            status,
            text: String::new(),
        }
    }
}

/// A hostcall that gives bytes.
pub fn given(
    call: impl FnOnce(*mut *const u8, *mut usize) -> u32,
    show: impl Fn(&[u8]) -> String,
) -> Answer {
    let (mut data, mut length) = (ptr::null(), 0);
    let status = call(&mut data, &mut length);
    let text = match status {
        0 if data.is_null() => format!("null {length}"),
        // SAFETY: the host has allocated and filled it
        0 => show(unsafe { std::slice::from_raw_parts(data, length) }),
        _ => String::new(),
    };
    Answer { status, text }
}

/// A hostcall that gives a number to remember.
pub fn number(call: impl FnOnce(*mut u32) -> u32) -> Answer {
    let mut value = 0;
    let status = call(&mut value);
    State::set_last(value);
    Answer {
        status,
        text: value.to_string(),
    }
}

/// The same, for numbers that other guests of the process count too.
pub fn unnumbered(call: impl FnOnce(*mut u32) -> u32) -> Answer {
    Answer {
        text: String::new(),
        ..number(call)
    }
}

/// A status by its name.
pub fn status(code: u32) -> String {
    let name = match code {
        0 => "ok",
        1 => "NotFound",
        2 => "BadArgument",
        3 => "SerializationFailure",
        4 => "ParseFailure",
        6 => "InvalidMemoryAccess",
        7 => "Empty",
        8 => "CasMismatch",
        10 => "InternalFailure",
        12 => "Unimplemented",
        _ => return code.to_string(),
    };
    name.to_owned()
}
