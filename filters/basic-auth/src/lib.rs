//! Lets requests pass that carry a known user name and password. What it does and
//! how it is configured stands in its README.

mod config;
mod credentials;
mod filter;
mod password;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<filter::Shared>());
}}
