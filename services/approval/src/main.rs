//! The `approval` service as a process of its own.

use std::process::ExitCode;

use bulkhead_edge::process::{self, ServiceArguments};
use clap::Parser;

/// The approval service of Bulkhead.
///
/// Example: approval --config bulkhead.toml
#[derive(Parser)]
#[command(version = bulkhead_version::VERSION)]
struct Arguments {
    #[command(flatten)]
    service: ServiceArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse().service;
    process::run(
        bulkhead_approval::NAME,
        &arguments,
        bulkhead_approval::Config::read,
        bulkhead_approval::serve,
    )
}
