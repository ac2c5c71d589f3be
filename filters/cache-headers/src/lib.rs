//! Tells caches how long they may keep responses. What it does and how it is
//! configured stands in its README.

mod config;
mod filter;
mod rule;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<config::Config>());
}}
