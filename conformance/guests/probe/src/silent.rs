//! Hostcalls without a word in the log.

use std::ptr;

use crate::abi;

/// What a buffer holds.
pub fn buffer(buffer: u32) -> Vec<u8> {
    let (mut data, mut length) = (ptr::null(), 0);
    // SAFETY: every pointer is that of a live slice or variable
    let status =
        unsafe { abi::proxy_get_buffer_bytes(buffer, 0, usize::MAX, &mut data, &mut length) };
    owned(status, data, length)
}

/// `:path`.
pub fn path() -> String {
    let (mut data, mut length) = (ptr::null(), 0);
    let name = ":path";
    // SAFETY: every pointer is that of a live slice or variable
    let status = unsafe {
        abi::proxy_get_header_map_value(0, name.as_ptr(), name.len(), &mut data, &mut length)
    };
    String::from_utf8_lossy(&owned(status, data, length)).into_owned()
}

fn owned(status: u32, data: *const u8, length: usize) -> Vec<u8> {
    if status != 0 || data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host has allocated and filled it
    unsafe { std::slice::from_raw_parts(data, length) }.to_vec()
}
