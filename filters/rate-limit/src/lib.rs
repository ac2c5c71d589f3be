//! Limits how many requests pass in a time, over all workers. What it does and
//! how it is configured stands in its README.

mod bucket;
mod config;
mod decision;
mod filter;
mod local;
mod window;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<filter::Shared>());
}}
