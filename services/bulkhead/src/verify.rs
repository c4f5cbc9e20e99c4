//! `bulkhead audit verify`: checks a log offline.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bulkhead_audit::verify::{VerifyError, VerifyOptions, VerifyReport, verify};
use bulkhead_edge::fault::chain;
use clap::Args;

use crate::up::say;

/// Exit code when something was found.
const EXIT_FOUND: u8 = 1;
/// Exit code when nothing can be said.
const EXIT_UNREADABLE: u8 = 2;

/// Arguments of `bulkhead audit verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The folder of the log: the audit service's data, or a copy of it.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A checkpoint that was kept elsewhere. Only with one can a rolled-back or rewritten log be told from
    /// an honest one.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The public key that signs the log's checkpoints: a `.pub` file, or a C2SP verifier key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl VerifyArguments {
    /// Verifies, prints, and exits 0, 1 or 2.
    pub(crate) fn run(self) -> ExitCode {
        let options = VerifyOptions {
            checkpoint: self.checkpoint.clone(),
            key: self.key.clone(),
            ..VerifyOptions::default()
        };
        match verify(&self.folder, &options) {
            Ok(report) if self.print(&report).is_err() => ExitCode::from(EXIT_UNREADABLE),
            Ok(report) if report.verified => ExitCode::SUCCESS,
            Ok(_) => ExitCode::from(EXIT_FOUND),
            Err(error) => unreadable(&error),
        }
    }

    fn print(&self, report: &VerifyReport) -> std::io::Result<()> {
        let text = if self.json { serde_json::to_string_pretty(report)? } else { report.to_string() };
        writeln!(std::io::stdout(), "{}", text.trim_end())
    }
}

fn unreadable(error: &VerifyError) -> ExitCode {
    say(&format!("bulkhead audit verify: {}", chain(error, ": ")));
    ExitCode::from(EXIT_UNREADABLE)
}
