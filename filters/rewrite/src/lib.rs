//! Rewrites paths and headers by templates, or redirects. What it does and how it is
//! configured stands in its README.
//!
//! `template` reads templates and fills them in, `condition` says which requests a
//! rule is for, and `filter` ties it to the callbacks.

mod condition;
mod config;
mod filter;
mod host;
mod template;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<config::Config>());
}}
