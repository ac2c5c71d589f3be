//! Compresses responses as clients accept it. What it does and how it is configured
//! stands in its README.
//!
//! `accept` reads what a client accepts, `plan` says which responses are compressed,
//! and `filter` ties it to the callbacks.

mod accept;
mod config;
mod filter;
mod plan;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<filter::Shared>());
}}
