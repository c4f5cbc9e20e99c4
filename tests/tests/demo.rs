//! The demo, and that each of its claims can fail.

use std::process::Command;

use bulkhead_tests::{Binary, binary};
use serde_json::Value;

/// Every failpoint there is.
const FAILPOINTS: [&str; 5] = [
    "router.skip_delay",
    "router.skip_clearance",
    "executor.skip_permit",
    "executor.effect_before_intent",
    "executor.skip_undo",
];

/// Runs the demo and returns whether it exited 0, and its report.
fn demo(which: Binary, failpoints: &str) -> anyhow::Result<(bool, Value)> {
    let output = Command::new(binary(which)?)
        .args(["demo", "--yes", "--json"])
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
    let (succeeded, report) = demo(Binary::Shipped, &FAILPOINTS.join(","))?;
    assert!(succeeded && report["holds"] == true, "{report:#}");
    assert_eq!(report["claims"].as_array().map(Vec::len), Some(14));
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
