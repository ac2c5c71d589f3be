//! Weir's configuration: one YAML file, read and checked as a whole.
//!
//! [`parse`] takes the text and gives a [`Config`] or everything that is wrong
//! with it, each error with its place in the file and, where there is one, the
//! next thing to try. It does no I/O: whether a file exists or a port is free
//! is for the proxy to find out, which then uses [`Config::error`] to point at
//! the place in the file that asked for it.
//!
//! The doc comments on the types are the reference of the file's keys.
#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod any;
mod blocks;
mod capability;
mod check;
mod cluster;
mod code;
mod config;
pub mod defaults;
mod environment;
mod error;
mod failure;
mod http_filter;
mod limits;
mod listener;
mod not_yet;
mod plugin;
mod problems;
mod read;
mod report;
mod route;
mod source;
mod vm;
mod yaml;

pub use access_log::{AccessLog, LogPath};
pub use admin::Admin;
pub use cluster::Cluster;
pub use code::Code;
pub use config::{Config, parse};
pub use environment::EnvironmentVariables;
pub use error::{ConfigError, ConfigErrors};
pub use failure::{Backoff, FailurePolicy, ReloadConfig};
pub use http_filter::HttpFilter;
pub use listener::Listener;
pub use plugin::{Limits, PluginConfig};
pub use read::ByteSize;
pub use route::{Route, RouteMatch};
pub use source::{Position, Source, Span, Spanned};
pub use vm::VmConfig;
