//! Weir: a reverse proxy that runs the filters people already wrote for Envoy.
#![deny(unsafe_code)]

mod admin;
mod callout;
mod cli;
mod cluster;
mod compile_cache;
mod connection_limit;
mod descriptors;
mod discovery;
mod dns;
mod exchange;
mod filter;
mod gate;
mod generation;
mod health;
mod http;
mod istio;
mod limits;
mod listener;
mod logging;
mod modules;
mod proxy_protocol;
mod publish;
mod random;
mod rbac;
mod reload;
mod request;
mod rollout;
mod route;
mod server;
mod signature;
mod socket;
mod stream;
mod tap;
mod tcp;
mod telemetry;
mod tls;
mod trace;
mod worker;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
