//! The demo, and that each of its claims can fail.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_failpoint::{CRASHES, FAULTS};
use bulkhead_tests::{Binary, binary, eventually, processes};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Runs the demo and returns whether it exited 0, and its report.
fn demo(which: Binary, failpoints: &str) -> anyhow::Result<(bool, Value)> {
    demo_with(which, failpoints, &[])
}

fn demo_with(which: Binary, failpoints: &str, arguments: &[&str]) -> anyhow::Result<(bool, Value)> {
    let output = Command::new(binary(which)?)
        .args(["demo", "--yes", "--json"])
        .args(arguments)
        .env("BULKHEAD_FAILPOINTS", failpoints)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout)
        .map_err(|error| anyhow::anyhow!("the demo printed no report ({error}) and said:\n{said}"))?;
    Ok((output.status.success(), report))
}

fn failed(report: &Value) -> Vec<&str> {
    let claims = report["claims"].as_array().into_iter().flatten();
    claims.filter(|claim| claim["holds"] == false).filter_map(|claim| claim["id"].as_str()).collect()
}

#[test]
fn every_claim_holds_in_the_shipped_binary_whatever_failpoints_are_asked_for() -> anyhow::Result<()> {
    let names: Vec<_> = FAULTS.iter().chain(CRASHES).map(|failpoint| failpoint.name).collect();
    let (succeeded, report) = demo(Binary::Shipped, &names.join(","))?;
    assert!(succeeded && report["holds"] == true, "{report:#}");
    assert_eq!(report["claims"].as_array().map(Vec::len), Some(14));
    Ok(())
}

#[test]
fn a_folder_with_labelled_files_and_an_earlier_demos_files_passes() -> anyhow::Result<()> {
    let workspace = tempfile::tempdir()?;
    let ours = workspace.path().join("bulkhead-demo");
    std::fs::create_dir(&ours)?;
    for path in ["a.env", "id_notes.md", "bulkhead-demo/SUMMARY.md", "bulkhead-demo/while-locked.md"] {
        std::fs::write(workspace.path().join(path), "somebody's own\n")?;
    }
    let folder = workspace.path().to_str().context("not UTF-8")?;
    let (succeeded, report) = demo_with(Binary::Shipped, "", &["--workspace", folder])?;
    assert!(succeeded && report["holds"] == true, "{report:#}");
    assert_eq!(std::fs::read_dir(ours)?.count(), 2, "the original is never touched");
    Ok(())
}

#[test]
fn what_fails_before_the_agent_sets_out_is_named_and_measures_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder\n")?;
    let (file, here) = (file.to_str().context("not UTF-8")?, folder.path().to_str().context("not UTF-8")?);
    let inside = format!("{here}/deeper/data");
    let table: [(&[&str], &str); 4] = [
        (&["--workspace", "/nowhere/at/all"], "cannot open --workspace /nowhere/at/all"),
        (&["--data", file], "cannot open --data"),
        (&["--data", here], "is not empty"),
        (&["--workspace", here, "--data", &inside], "lies inside --workspace"),
    ];
    for (arguments, said) in table {
        let output =
            Command::new(binary(Binary::Shipped)?).args(["demo", "--yes"]).args(arguments).output()?;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    assert!(!Path::new(&inside).exists());
    Ok(())
}

/// Runs the demo with a fault inside a service; the claim that it breaks must say so.
fn caught(failpoint: &str, claim: &str) -> anyhow::Result<()> {
    let (succeeded, report) = demo(Binary::WithFailpoints, failpoint)?;
    assert!(!succeeded, "{failpoint} was not noticed: {report:#}");
    assert!(failed(&report).contains(&claim), "{failpoint} did not fail {claim}: {report:#}");
    Ok(())
}

#[test]
fn a_delay_that_is_skipped_is_noticed() -> anyhow::Result<()> {
    caught("router.skip_delay", "retry_after")
}

#[test]
fn a_secret_that_reaches_a_cloud_model_is_noticed() -> anyhow::Result<()> {
    caught("router.skip_clearance", "local_only")
}

#[test]
fn a_delete_without_a_permit_is_noticed() -> anyhow::Result<()> {
    caught("executor.skip_permit", "gated")
}

#[test]
fn an_effect_before_its_record_is_noticed() -> anyhow::Result<()> {
    caught("executor.effect_before_intent", "record_first")
}

#[test]
fn an_undo_that_does_nothing_is_noticed() -> anyhow::Result<()> {
    caught("executor.skip_undo", "undo")
}

/// Whether the demo in this temporary folder has started its services.
fn at_work(temporary: &Path) -> anyhow::Result<Option<()>> {
    let prefix = temporary.display().to_string();
    let services = processes(|arguments| {
        arguments.iter().any(|argument| argument == "serve")
            && arguments.iter().any(|argument| argument.starts_with(&prefix))
    })?;
    Ok((services.len() == 4).then_some(()))
}

#[tokio::test]
async fn a_demo_that_is_stopped_leaves_nothing_behind() -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let mut demo = Command::new(binary(Binary::Shipped)?)
        .args(["demo", "--yes"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let bound = Duration::from_secs(40);
    eventually("the demo at work", bound, async || at_work(temporary.path())).await?;
    let pid = Pid::from_raw(i32::try_from(demo.id())?).context("no such process")?;
    kill_process(pid, Signal::INT)?;
    let mut ended = || demo.try_wait();
    let status = eventually("the demo to stop", bound, || {
        let status = ended();
        async move { Ok(status?) }
    })
    .await?;
    assert_eq!(status.code(), Some(130));
    let left: Vec<_> = std::fs::read_dir(temporary.path())?.collect();
    assert!(left.is_empty(), "{left:?}");
    let prefix = temporary.path().display().to_string();
    let there = processes(|arguments| arguments.iter().any(|argument| argument.starts_with(&prefix)))?;
    assert_eq!(there, Vec::<i32>::new());
    Ok(())
}
