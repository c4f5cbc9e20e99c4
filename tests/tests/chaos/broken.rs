//! Builds that are broken on purpose: the harness sees each of them. This is what shows that it can see at all.
//!
//! How processes are scheduled no seed decides, so each may take a few.

use bulkhead_tests::{Binary, binary};
use std::process::{Command, Stdio};

use bulkhead_tests::command::Ended;

use super::judged;

/// Plans that are tried until one shows it.
const SEEDS: [&str; 3] = ["1", "2", "3"];

/// Runs a broken build under a plan that kills every service, until the invariant that it breaks is seen broken.
fn is_caught(failpoint: &str, invariant: &str) -> anyhow::Result<()> {
    for seed in SEEDS {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let output = Command::new(binary(Binary::WithFailpoints)?)
            .args([
                "chaos",
                "run",
                "--seed",
                seed,
                "--minutes",
                "0.4",
                "--faults",
                "kill",
                "--json",
                "--data",
            ])
            .arg(&data)
            .env("BULKHEAD_FAILPOINTS", failpoint)
            .stdin(Stdio::null())
            .output()?;
        let ended = Ended::of(output)?;
        if ended.code == Some(0) {
            continue;
        }
        let report = ended.exits(1)?.says(&format!("Seed {seed} broke it"))?.json()?;
        assert_eq!(report["held"], false);
        if judged(&report, invariant)?["breaches"].as_array().is_some_and(|breaches| !breaches.is_empty()) {
            return Ok(());
        }
    }
    anyhow::bail!("{failpoint} was not seen to break `{invariant}` by any of the seeds {SEEDS:?}")
}

#[test]
fn an_effect_before_its_intent_is_caught() -> anyhow::Result<()> {
    is_caught("executor.effect_before_intent", "once")
}

#[test]
fn a_grant_that_is_not_consumed_is_caught() -> anyhow::Result<()> {
    is_caught("executor.grant_reused", "approved")
}

#[test]
fn an_outbox_that_forgets_before_it_is_confirmed_is_caught() -> anyhow::Result<()> {
    is_caught("outbox.before_commit", "recorded")
}

#[test]
fn an_acknowledgement_before_the_write_is_caught() -> anyhow::Result<()> {
    is_caught("audit.ack_before_write", "recorded")
}

#[test]
fn a_grant_that_never_expires_is_caught() -> anyhow::Result<()> {
    is_caught("executor.grant_never_expires", "approved")
}
