//! The `model-router` service as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// The model-router service of Bulkhead.
///
/// Example: model-router --config bulkhead.toml
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file with a table [model-router].
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    bulkhead_edge::process::run(
        bulkhead_model_router::NAME,
        &arguments.config,
        bulkhead_model_router::Config::read,
        bulkhead_model_router::serve,
    )
}
