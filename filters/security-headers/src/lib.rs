//! Sets the response headers by which browsers protect a site, and removes those
//! that tell what the site runs on. What it does and how it is configured stands
//! in its README.

mod config;
mod filter;
mod policy;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<policy::Policy>());
}}
