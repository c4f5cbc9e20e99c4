//! Words to actions.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::demo::DemoArguments;
use crate::serve::{ServeArguments, SimulatorArguments};
use crate::up::UpArguments;
use crate::verify::VerifyArguments;

/// The production-hardening layer for AI agents.
#[derive(Debug, Parser)]
#[command(name = "bulkhead", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start every service on embedded storage and keep them running.
    ///
    /// Example: bulkhead up --data ./bulkhead-data --simulate
    Up(UpArguments),
    /// Run one service in this process.
    ///
    /// Example: bulkhead serve audit --config ./bulkhead-data/bulkhead.toml
    Serve(ServeArguments),
    /// Run the main job end to end and measure every claim.
    ///
    /// Example: bulkhead demo --workspace ./notes
    Demo(DemoArguments),
    /// Look at what was recorded.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Run the provider simulator in this process. It is no model.
    #[command(hide = true)]
    ServeSimulator(SimulatorArguments),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Verify a log offline: its files, its checkpoint, and one that was kept elsewhere.
    ///
    /// Exits 0 when nothing was found, 1 when something was, 2 when it cannot be read.
    ///
    /// Example: bulkhead audit verify ./bulkhead-data/audit --checkpoint kept-checkpoint --key keys/log.pub
    Verify(VerifyArguments),
}

impl Cli {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            Command::Up(arguments) => arguments.run(),
            Command::Serve(arguments) => arguments.run(),
            Command::Demo(arguments) => arguments.run(),
            Command::Audit { command: AuditCommand::Verify(arguments) } => arguments.run(),
            Command::ServeSimulator(arguments) => arguments.run(),
        }
    }
}

/// Where `up` and `demo` keep things unless told otherwise.
pub(crate) fn default_data() -> PathBuf {
    PathBuf::from("bulkhead-data")
}
