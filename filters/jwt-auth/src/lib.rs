//! Lets requests pass that carry a valid JSON Web Token. What it does and how it is
//! configured stands in its README.
//!
//! `token` reads a token, `claims` judges what it claims, `keys` its signature, unless it
//! is `verified` already; `cache` says when keys are fetched, `judge` puts these together
//! for a request, `grant` is what a request is sent on with, and `filter` ties it to the
//! callbacks.

mod cache;
mod claims;
mod config;
mod failure;
mod filter;
mod grant;
mod judge;
mod keys;
mod provider;
mod token;
mod verified;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<filter::Shared>());
}}
