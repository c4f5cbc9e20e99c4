//! Bad input, generated from the descriptors: every field of every request wrong in every way, sent to the
//! running services. Nothing panics, hangs or is the service's fault, the answer names the field, and nothing
//! has changed.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod expected;
mod mutations;
mod values;

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Context as _;
use bulkhead_tests::probe::{Answer, Footprint, Method, World, implemented};
use expected::Expected;
use futures::StreamExt as _;
use mutations::Mutant;
use prost_reflect::prost::Message as _;

/// Calls under way at once.
const CALLS: usize = 8;

/// The codes that blame the service: UNKNOWN, INTERNAL, DATA_LOSS.
const OUR_FAULT: [i32; 3] = [2, 13, 15];

/// Stands for a call that broke off or hung; no gRPC code.
const NO_ANSWER: i32 = -1;

#[tokio::test]
async fn every_sample_is_valid() -> anyhow::Result<()> {
    let world = World::start().await?;
    for method in implemented()? {
        let sample = world.sample(&method).await?;
        let answer = world.ask(&method, &sample.encode_to_vec()).await?;
        let mutant = Mutant { field: String::new(), what: "", undecodable: false, bytes: Vec::new() };
        assert!(Expected::Accepted.is(&mutant, &answer), "{}: {answer:?}", method.path());
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_field_is_named_and_nothing_happens() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut table = String::new();
    for method in implemented()? {
        let started = Instant::now();
        let sample = world.sample(&method).await?;
        let name = &method.rule.method;
        let mut mutants = mutations::of(&sample);
        // Read as that of Generate is, and refused beside the sample's route, which is its own.
        mutants.retain(|mutant| name != "ExplainRoute" || !mutant.field.starts_with("generate"));
        // Valid, and nothing that the sandbox's local model can be told: a refusal that goes on record.
        mutants.retain(|mutant| !mutant.field.ends_with("tool_choice.single_call") || mutant.what != "true");
        let (valid, wrong): (Vec<_>, Vec<_>) =
            mutants.into_iter().partition(|mutant| expected::of(name, mutant) == Expected::Accepted);

        let before = Footprint::of(&world.sandbox).await?;
        let answers = send(&world, &method, &wrong).await;
        for (mutant, answer) in wrong.iter().zip(&answers) {
            check(&mut table, &method, mutant, answer)?;
        }
        let changes = Footprint::of(&world.sandbox).await?.changes_since(&before);
        if !changes.is_empty() {
            writeln!(table, "{name}: what was to be refused has changed {changes:?}")?;
        }
        for mutant in &valid {
            let message = afresh(&world, &method, mutant).await?;
            let answer = ask(&world, &method, &message).await;
            check(&mut table, &method, mutant, &answer)?;
        }
        let seconds = started.elapsed().as_secs();
        println!("{name}: {} refused, {} accepted, {seconds} s", wrong.len(), valid.len());
    }
    unharmed(&world, &mut table).await?;
    assert!(table.is_empty(), "RPC | field | what is wrong | expected | got\n{table}");
    Ok(())
}

/// Every service is ready, and none has panicked or started again.
async fn unharmed(world: &World, table: &mut String) -> anyhow::Result<()> {
    for service in ["model-router", "tool-executor", "approval", "audit"] {
        let log = std::fs::read_to_string(world.sandbox.data().join(format!("logs/{service}.log")))?;
        for line in log.lines().filter(|line| line.contains("panicked")) {
            writeln!(table, "{service} said: {line}")?;
        }
        anyhow::ensure!(world.is_ready(service).await?, "{service} is not ready");
    }
    Ok(())
}

/// Sends what must be refused.
async fn send(world: &World, method: &Method, mutants: &[Mutant]) -> Vec<Answer> {
    let calls = mutants.iter().map(|mutant| ask(world, method, &mutant.bytes));
    futures::stream::iter(calls).buffered(CALLS).collect().await
}

/// An answer, or what came instead of one.
async fn ask(world: &World, method: &Method, message: &[u8]) -> Answer {
    let answer = world.ask(method, message).await;
    answer.unwrap_or_else(|error| Answer {
        code: NO_ANSWER,
        message: format!("{error:#}"),
        ..Answer::default()
    })
}

/// The same mutant of a sample that was never sent, since this one may act.
async fn afresh(world: &World, method: &Method, mutant: &Mutant) -> anyhow::Result<Vec<u8>> {
    let sample = world.sample(method).await?;
    Ok(mutations::like(mutant, &sample).context("the sample has another shape now")?.bytes)
}

/// Adds a row to the table when the answer is not what it must be.
fn check(table: &mut String, method: &Method, mutant: &Mutant, answer: &Answer) -> anyhow::Result<()> {
    let name = &method.rule.method;
    let expected = expected::of(name, mutant);
    if OUR_FAULT.contains(&answer.code) || !expected.is(mutant, answer) {
        let Answer { code, reason, fields, message, .. } = answer;
        let Mutant { field, what, .. } = mutant;
        writeln!(table, "{name} | {field} | {what} | {expected:?} | {code} {reason} {fields:?} {message}")?;
    }
    Ok(())
}
