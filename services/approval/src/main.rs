//! The `approval` service as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The approval service of Bulkhead.
///
/// Example: approval --config bulkhead.toml
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file with a table [approval].
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    bulkhead_edge::process::run(
        bulkhead_approval::NAME,
        &arguments.config,
        bulkhead_approval::Config::read,
        bulkhead_approval::serve,
    )
}
