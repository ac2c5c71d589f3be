//! What differs between the versions of the ABI: the marker, the callbacks of
//! headers, and some hostcalls.

#[cfg(feature = "abi_0_1_0")]
mod exports {
    #[unsafe(no_mangle)]
    pub extern "C" fn proxy_abi_version_0_1_0() {}

    /// Not told whether the stream ends.
    #[unsafe(no_mangle)]
    pub extern "C" fn proxy_on_request_headers(context: u32, count: u32) -> u32 {
        crate::request_headers(context, count, false)
    }

    #[unsafe(no_mangle)]
    pub extern "C" fn proxy_on_response_headers(context: u32, count: u32) -> u32 {
        crate::response_headers(context, count, false)
    }
}

#[cfg(not(feature = "abi_0_1_0"))]
mod exports {
    #[cfg(feature = "abi_0_2_0")]
    #[unsafe(no_mangle)]
    pub extern "C" fn proxy_abi_version_0_2_0() {}

    #[cfg(not(feature = "abi_0_2_0"))]
    #[unsafe(no_mangle)]
    pub extern "C" fn proxy_abi_version_0_2_1() {}

    #[unsafe(no_mangle)]
    pub extern "C" fn proxy_on_request_headers(context: u32, count: u32, end: u32) -> u32 {
        crate::request_headers(context, count, end != 0)
    }

    #[unsafe(no_mangle)]
    pub extern "C" fn proxy_on_response_headers(context: u32, count: u32, end: u32) -> u32 {
        crate::response_headers(context, count, end != 0)
    }
}

use crate::answer::Answer;
use crate::arguments::Arguments;

#[cfg(feature = "abi_0_1_0")]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_configuration(data: *mut *const u8, length: *mut usize) -> u32;
    fn proxy_continue_request() -> u32;
    fn proxy_continue_response() -> u32;
    fn proxy_clear_route_cache() -> u32;
}

#[cfg(not(feature = "abi_0_1_0"))]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    #[cfg(not(feature = "abi_0_2_0"))]
    fn proxy_get_log_level(level: *mut u32) -> u32;
}

/// A hostcall that not all versions have; none if this one does not have it.
#[cfg(feature = "abi_0_1_0")]
pub fn call(name: &str, _: &mut Arguments<'_>) -> Option<Answer> {
    // SAFETY: the pointers are those of live variables
    Some(match name {
        "configuration" => crate::answer::given(
            |data, length| unsafe { proxy_get_configuration(data, length) },
            crate::text::show,
        ),
        "continue_request" => unsafe { proxy_continue_request() }.into(),
        "continue_response" => unsafe { proxy_continue_response() }.into(),
        "clear_route_cache" => unsafe { proxy_clear_route_cache() }.into(),
        _ => return None,
    })
}

/// A hostcall that not all versions have; none if this one does not have it.
#[cfg(not(feature = "abi_0_1_0"))]
pub fn call(name: &str, a: &mut Arguments<'_>) -> Option<Answer> {
    // SAFETY: the pointers are those of live variables
    Some(match name {
        "resume" => unsafe { proxy_continue_stream(a.stream()) }.into(),
        "close" => unsafe { proxy_close_stream(a.stream()) }.into(),
        #[cfg(not(feature = "abi_0_2_0"))]
        "log_level" => crate::answer::number(|level| unsafe { proxy_get_log_level(level) }),
        _ => return None,
    })
}
