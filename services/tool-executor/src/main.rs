//! The `tool-executor` service as a process of its own.

use std::process::ExitCode;

use bulkhead_edge::process::{self, ServiceArguments};
use clap::Parser;

/// The tool-executor service of Bulkhead.
///
/// Example: tool-executor --config bulkhead.toml
#[derive(Parser)]
#[command(version = bulkhead_version::VERSION)]
struct Arguments {
    #[command(flatten)]
    service: ServiceArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse().service;
    process::run(
        bulkhead_tool_executor::NAME,
        &arguments,
        bulkhead_tool_executor::Config::read,
        bulkhead_tool_executor::serve,
    )
}
