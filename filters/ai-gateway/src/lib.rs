//! Routes requests to language models by their model, and counts tokens. What it does
//! and how it is configured stands in its README.
//!
//! `request` reads and rewrites what a client asks for, `usage` finds in a response
//! what it has cost, `budget` keeps what each client has spent, and `filter` ties
//! them to the callbacks.

mod budget;
mod config;
mod filter;
mod request;
mod usage;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<filter::Shared>());
}}
