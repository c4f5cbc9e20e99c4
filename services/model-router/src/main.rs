//! The `model-router` service as a process of its own.

use std::process::ExitCode;

use bulkhead_edge::process::{self, ServiceArguments};
use clap::Parser;

/// The model-router service of Bulkhead.
///
/// Example: model-router --config bulkhead.toml
#[derive(Parser)]
#[command(version = bulkhead_version::VERSION)]
struct Arguments {
    #[command(flatten)]
    service: ServiceArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse().service;
    process::run_following(
        bulkhead_model_router::NAME,
        &arguments,
        bulkhead_model_router::Config::read,
        bulkhead_model_router::serve,
    )
}
