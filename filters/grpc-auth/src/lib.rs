//! Asks a gRPC service whether a request may pass, and reports requests to
//! another. What it does and how it is configured stands in its README.

mod audit;
mod config;
mod filter;
mod message;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<filter::Shared>());
}}
