//! The `audit` service as a process of its own.

use std::process::ExitCode;

use bulkhead_edge::process::{self, ServiceArguments};
use clap::Parser;

/// The audit service of Bulkhead.
///
/// Example: audit --config bulkhead.toml
#[derive(Parser)]
#[command(version = bulkhead_version::VERSION)]
struct Arguments {
    #[command(flatten)]
    service: ServiceArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse().service;
    process::run(bulkhead_audit::NAME, &arguments, bulkhead_audit::Config::read, bulkhead_audit::serve)
}
