//! Replaces secrets and personal data in bodies as they stream by. What it does and
//! how it is configured stands in its README.
//!
//! `pattern` says whether something to redact begins at one place, `scanner` runs
//! the rules over a body that comes in chunks, `rewrite` puts the result back into
//! the host's buffer, `plan` chooses the messages to rewrite, and `filter` ties it
//! to the callbacks.

mod config;
mod filter;
mod limits;
mod pattern;
mod plan;
mod rewrite;
mod rules;
mod scanner;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| filter_http::root::<filter::Shared>());
}}
