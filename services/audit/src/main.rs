//! The `audit` service as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The audit service of Bulkhead.
///
/// Example: audit --config bulkhead.toml
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file with a table [audit].
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    bulkhead_edge::process::run(
        bulkhead_audit::NAME,
        &arguments.config,
        bulkhead_audit::Config::read,
        bulkhead_audit::serve,
    )
}
