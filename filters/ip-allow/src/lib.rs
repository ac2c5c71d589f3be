//! Lets TCP connections or HTTP requests in by the address that they come from. What
//! it does and how it is configured stands in its README.

mod config;
mod country;
mod filter;
mod list;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<filter::Shared>());
}}
