//! `bulkhead completions`: what a shell needs to complete the command line.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::up::say;

/// Arguments of `bulkhead completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// Which shell.
    shell: Shell,
}

impl CompletionsArguments {
    /// Prints the script.
    pub(crate) fn run(self) -> ExitCode {
        // Into memory first: the generator panics where it cannot write.
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "bulkhead", &mut script);
        match std::io::stdout().write_all(&script) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                say(&format!("bulkhead completions: cannot print the script: {error}"));
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        }
    }
}
