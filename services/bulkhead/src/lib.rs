//! The `bulkhead` command: starts the services, shows what they do, and checks what they recorded.
//!
//! A library only so that two programs can share it: the shipped one, and the one with failpoints that the
//! tests run.

mod agent;
mod certs;
mod chaos;
mod cli;
mod client;
mod completions;
mod data_folder;
mod demo;
mod door;
mod init;
mod reach;
mod serve;
mod up;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs the command with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    cli::Cli::parse().run()
}
