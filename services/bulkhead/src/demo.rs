//! `bulkhead demo`: the main job, end to end, with every claim measured.

mod claims;
mod clients;
mod evidence;
mod person;
mod scenario;
mod script;
mod workspace;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bulkhead_telemetry::TelemetrySettings;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use crate::data_folder::DataFolder;
use crate::up::{StopSignals, say};
use claims::{Claim, claims, expected};
use evidence::Evidence;
use person::Person;
use scenario::{Interrupted, Scenario};

/// Exit code after Ctrl-C or SIGTERM, as of a program that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

/// Arguments of `bulkhead demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Work on a copy of this folder instead of the built-in sample. The original is never touched.
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Approve what the person would be asked. Without it you are asked here.
    #[arg(long)]
    yes: bool,
    /// Print the claims as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Keep everything in this folder (it must be empty or absent) instead of a temporary one that is
    /// removed when every claim holds.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DemoArguments {
    /// Exits 0 only when every claim holds, and 130 when it was stopped.
    pub(crate) fn run(self) -> ExitCode {
        let ran = tokio::runtime::Runtime::new().context("cannot start a runtime").and_then(|runtime| {
            let entered = runtime.enter();
            let settings =
                TelemetrySettings { log_filter: Some("error".into()), ..TelemetrySettings::from_env() };
            let telemetry = bulkhead_telemetry::init("bulkhead-demo", &settings)?;
            drop(entered);
            let ran = runtime.block_on(self.show());
            telemetry.shutdown();
            // A question to a person may still block a thread that nothing can wake.
            runtime.shutdown_background();
            ran
        });
        match ran {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) if error.is::<Interrupted>() => ExitCode::from(EXIT_INTERRUPTED),
            Err(error) => {
                say(&format!("bulkhead demo: {error:#}"));
                ExitCode::FAILURE
            }
        }
    }

    async fn show(self) -> anyhow::Result<bool> {
        let person = if self.yes { Person::SaysYes } else { Person::at_the_terminal()? };
        let mut stop = StopSignals::listen()?;
        let original = self.workspace.as_deref().map(open_folder).transpose()?;
        let folder = DataFolder::choose("demo", self.data, original.as_deref())?;
        let mut evidence = Evidence::default();
        let scenario = Scenario { data: folder.path(), original, person };
        let ended = scenario.play(&mut evidence, &mut stop).await;
        if ended.as_ref().is_err_and(|error| error.is::<Interrupted>()) {
            // Holds tokens and a copy of somebody's folder, and nothing that was found out.
            folder.settle(true);
            return ended.map(|()| false);
        }
        if !evidence.begun() {
            folder.settle(false);
            return ended.map(|()| false);
        }

        let claims = claims(&evidence);
        if self.json {
            print_json(&claims, &evidence, ended.is_ok())?
        } else {
            print_table(&claims)?
        }
        let failed = claims.iter().filter(|claim| !claim.holds).count();
        if let Err(error) = &ended {
            say(&format!("\nThe demo could not go to its end: {error:#}"));
        }
        let missing = expected(&evidence).saturating_sub(claims.len());
        let holds = failed == 0 && missing == 0 && ended.is_ok();
        say(&verdict(&claims, failed, missing, holds));
        folder.settle(holds);
        Ok(holds)
    }
}

fn verdict(claims: &[Claim], failed: usize, missing: usize, holds: bool) -> String {
    if holds {
        return format!("\nAll {} claims hold.", claims.len());
    }
    format!("\n{failed} of {} measured claims do not hold; {missing} more were not reached.", claims.len())
}

fn print_table(claims: &[Claim]) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["", "claim", "measured"]);
    for claim in claims {
        table.add_row([if claim.holds { "ok" } else { "NO" }, claim.claim, &claim.measured]);
    }
    writeln!(std::io::stdout(), "{table}").context("cannot print the table")
}

fn print_json(claims: &[Claim], evidence: &Evidence, ended: bool) -> anyhow::Result<()> {
    let complete = ended && claims.len() == expected(evidence);
    let holds = complete && claims.iter().all(|claim| claim.holds);
    let report = json!({ "claims": claims, "holds": holds, "trace_id": evidence.trace_id });
    writeln!(std::io::stdout(), "{report:#}").context("cannot print the report")
}

/// The folder to copy, resolved, once it is sure that it can be listed.
fn open_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    let opened = folder.read_dir().and_then(|_entries| folder.canonicalize());
    opened.with_context(|| format!("cannot open --workspace {}", folder.display()))
}
