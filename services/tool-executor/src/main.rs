//! The `tool-executor` service as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The tool-executor service of Bulkhead.
///
/// Example: tool-executor --config bulkhead.toml
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file with a table [tool-executor].
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    bulkhead_edge::process::run(
        bulkhead_tool_executor::NAME,
        &arguments.config,
        bulkhead_tool_executor::Config::read,
        bulkhead_tool_executor::serve,
    )
}
