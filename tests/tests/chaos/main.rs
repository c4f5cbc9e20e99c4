//! `bulkhead chaos run`: real processes, hurt as its plan says, and what must hold of them.

#[cfg(feature = "broken-builds")]
mod broken;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_tests::command::{Ended, command};
use bulkhead_tests::{eventually, processes};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a run of a minute and its end may take on a busy machine.
const BOUND: Duration = Duration::from_secs(180);

/// Runs it without asking for anything that this machine may not have.
fn run(arguments: &[&str]) -> anyhow::Result<Ended> {
    let folder = tempfile::tempdir()?;
    Ended::of(command(folder.path(), &[&["chaos", "run"], arguments].concat())?.output()?)
}

/// An invariant of a report.
fn judged<'r>(report: &'r Value, name: &str) -> anyhow::Result<&'r Value> {
    let all = report["invariants"].as_array().context("no invariants")?;
    all.iter().find(|judged| judged["name"] == name).with_context(|| format!("no {name} in {report:#}"))
}

#[test]
fn what_must_hold_holds_while_services_are_killed_paused_and_cut_off() -> anyhow::Result<()> {
    let faults = "kill,pause,cut";
    let ended = run(&["--seed", "1", "--minutes", "0.35", "--faults", faults, "--json"])?.exits(0)?;
    let report = ended.json()?;
    assert_eq!(report["held"], true);
    for name in ["once", "approved", "recorded", "contained", "drained"] {
        let judged = judged(&report, name)?;
        assert_eq!(judged["breaches"], serde_json::json!([]), "{name}");
        assert!(
            judged["checked"].as_u64().is_some_and(|checked| checked > 0),
            "{name} was held against nothing"
        );
    }
    let timeline = report["timeline"].to_string();
    for injected in ["kill -9 ", "pause ", "cut "] {
        assert!(timeline.contains(injected), "no {injected} in {timeline}");
    }
    for deed in ["append", "move", "create", "delete", "twins", "undo"] {
        let done = report["acts"][deed]["SUCCEEDED"].as_u64();
        assert!(done.is_some_and(|done| done > 0), "no {deed} was done: {:#}", report["acts"]);
    }
    assert!(report["acts"]["ask"]["answered"].as_u64().is_some_and(|answered| answered > 0));
    assert!(report["looks"].as_array().is_some_and(|looks| looks.len() >= 5), "{:#}", report["looks"]);
    Ok(())
}

#[test]
fn what_cannot_be_run_is_said_before_anything_is_started() -> anyhow::Result<()> {
    run(&["--minutes", "0"])?.exits(2)?.says("must be from 0.1")?;
    run(&["--faults", "rain"])?.exits(2)?.says("rain")?;
    run(&["--minutes", "0.1", "--faults", "crash"])?
        .exits(2)?
        .says("crash (needs a build with failpoints)")?;
    let taken = tempfile::tempdir()?;
    std::fs::write(taken.path().join("something"), "of somebody's")?;
    let data = taken.path().to_str().context("a path")?;
    run(&["--data", data])?.exits(2)?.says("is not empty")?;
    Ok(())
}

/// Processes of a run in this folder.
fn of(folder: &Path) -> anyhow::Result<Vec<i32>> {
    let folder = folder.display().to_string();
    processes(|arguments| arguments.iter().any(|argument| argument.starts_with(&folder)))
}

#[tokio::test]
async fn a_run_that_is_stopped_leaves_no_process_behind() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let data = data.to_str().context("a path")?;
    let arguments = ["chaos", "run", "--seed", "1", "--minutes", "5", "--faults", "pause", "--data", data];
    let mut run = command(folder.path(), &arguments)?.stderr(Stdio::piped()).spawn()?;
    eventually("services and the command", BOUND, async || Ok((of(folder.path())?.len() >= 5).then_some(())))
        .await?;
    let pid = Pid::from_raw(i32::try_from(run.id())?).context("a process id")?;
    kill_process(pid, Signal::INT)?;
    let status = eventually("its end", BOUND, || {
        let status = run.try_wait();
        async move { Ok(status?) }
    })
    .await?;
    assert_eq!(status.code(), Some(130));
    assert_eq!(of(folder.path())?, Vec::<i32>::new());
    Ok(())
}
