//! `weir filter` by itself: for where filters are built and tested, and nothing is
//! served.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

/// Tools for people who write filters.
#[derive(Parser)]
#[command(name = "weir-filter", version)]
struct Cli {
    #[command(flatten)]
    filter: weir_devtools::Filter,
}

fn main() -> ExitCode {
    Cli::parse().filter.execute()
}
