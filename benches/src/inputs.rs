//! What is measured with: requests, responses, configurations and modules in text form. The
//! benches of other hosts have it too.

/// What a browser sends: pseudo headers and seven more.
pub const REQUEST: [(&str, &str); 11] = [
    (":authority", "shop.example.com"),
    (":path", "/catalogue/shoes?size=42&colour=green"),
    (":method", "GET"),
    (":scheme", "https"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101",
    ),
    ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.7"),
    ("accept-encoding", "gzip, deflate, br"),
    (
        "cookie",
        "session=9f86d081884c7d659a2feaa0c55ad015; theme=dark",
    ),
    ("x-forwarded-for", "192.0.2.7"),
    ("x-request-id", "0191f7ae-8e5c-7c4a-b6d1-4d8e1f0c2a3b"),
];

/// What an application answers.
pub const RESPONSE: [(&str, &str); 6] = [
    (":status", "200"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "5120"),
    ("cache-control", "max-age=60"),
    ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ("server", "application"),
];

/// What the filter hello is configured with.
pub const HELLO_CONFIGURATION: &str = r#"{"request":"from Weir","response":"from Weir"}"#;

/// What hello does, by hand: sets a header in each direction. It has the callbacks that
/// the Rust SDK has.
pub const HEADERS: &str = include_str!("headers.wat");

/// The text of a module of ABI 0.2.1: `items`, which may begin with imports, a memory, and
/// an allocator that hands out the same block again and again.
#[must_use]
pub fn module_text(items: &str) -> String {
    format!(
        r#"(module {items}
          (memory (export "memory") 2)
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32)
            (i32.const 65536)))"#
    )
}
