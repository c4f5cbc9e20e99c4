//! The same request twice, through every RPC that changes anything: one effect, one answer.

mod others;

use std::collections::BTreeMap;
use std::time::Duration;

use bulkhead_tests::eventually;
use bulkhead_tests::probe::{Answer, Footprint, Method, World, implemented};
use futures::future::join_all;
use prost_reflect::prost::Message as _;
use prost_reflect::{Kind, MessageDescriptor};

use others::{HOLDERS, other_payloads};

/// Calls with one id at once.
const CALLS: usize = 32;
/// How long a killed service may be away on a busy machine.
const RESTART_BOUND: Duration = Duration::from_secs(60);

/// Deduplicates by the ids of its events; its request id only names the call.
const BY_EVENT_ID: &str = "AppendEvents";
/// Keep their answers in memory: after a restart they act again.
const FROM_MEMORY: [&str; 2] = ["Generate", "StreamGenerate"];

/// Every implemented RPC that changes anything and takes a request id.
fn mutating() -> anyhow::Result<Vec<Method>> {
    let mut methods = implemented()?;
    methods.retain(|method| method.rule.mutating && method.rule.method != BY_EVENT_ID);
    assert!(methods.len() >= 5, "only {} RPCs change anything", methods.len());
    Ok(methods)
}

/// Rows of each table, and lines of the audit log, that came between.
fn grown(before: &Footprint, after: &Footprint) -> BTreeMap<String, u64> {
    // Counters get their one row with the first change.
    let counts = |name: &str| name.ends_with("/revisions") || name.ends_with("/sqlite_sequence");
    let grown = after.sizes().filter(|(name, _)| !name.starts_with("workspace/") && !counts(name));
    let grown = grown.map(|(name, rows)| (name.to_owned(), rows - before.rows(name)));
    grown.filter(|(_, rows)| *rows > 0).collect()
}

fn accepted(method: &Method, answer: &Answer) {
    assert_eq!(answer.code, 0, "{}: {answer:?}", method.path());
}

#[tokio::test]
async fn the_same_request_again_has_the_same_answer_and_no_effect() -> anyhow::Result<()> {
    let world = World::start().await?;
    for method in mutating()? {
        let message = world.sample(&method).await?.encode_to_vec();
        let first = world.ask(&method, &message).await?;
        accepted(&method, &first);
        let before = Footprint::of(&world.sandbox).await?;
        let again = world.ask(&method, &message).await?;
        assert_eq!(method.read(again.reply)?, method.read(first.reply.clone())?, "{}", method.path());
        let changes = Footprint::of(&world.sandbox).await?.changes_since(&before);
        assert!(changes.is_empty(), "{} changed {changes:?}", method.path());

        world.sandbox.kill(method.process())?;
        eventually("the service to be back", RESTART_BOUND, || async {
            Ok(world.is_ready(method.process()).await.unwrap_or(false).then_some(()))
        })
        .await?;
        let restarted = world.ask(&method, &message).await?;
        accepted(&method, &restarted);
        if !FROM_MEMORY.contains(&method.rule.method.as_str()) {
            assert_eq!(method.read(restarted.reply)?, method.read(first.reply)?, "{}", method.path());
            let changes = Footprint::of(&world.sandbox).await?.changes_since(&before);
            assert!(changes.is_empty(), "after a crash {} changed {changes:?}", method.path());
        }
    }
    Ok(())
}

#[tokio::test]
async fn many_at_once_are_one() -> anyhow::Result<()> {
    let world = World::start().await?;
    for method in mutating()? {
        let single = world.sample(&method).await?.encode_to_vec();
        let before = Footprint::of(&world.sandbox).await?;
        accepted(&method, &world.ask(&method, &single).await?);
        let expected = grown(&before, &Footprint::of(&world.sandbox).await?);

        let message = world.sample(&method).await?.encode_to_vec();
        let before = Footprint::of(&world.sandbox).await?;
        let answers = join_all((0..CALLS).map(|_| world.ask(&method, &message))).await;
        let mut names = Vec::new();
        for answer in answers {
            let answer = answer?;
            accepted(&method, &answer);
            names.push(name_of(&method.read(answer.reply)?));
        }
        names.dedup();
        assert_eq!(names.len(), 1, "{} made {names:?}", method.path());
        let actual = grown(&before, &Footprint::of(&world.sandbox).await?);
        assert_eq!(actual, expected, "{}: {CALLS} calls left more than one does", method.path());
    }
    Ok(())
}

#[tokio::test]
async fn an_id_stands_for_one_payload_of_one_caller() -> anyhow::Result<()> {
    let world = World::start().await?;
    for method in mutating()? {
        let sample = world.sample(&method).await?;
        accepted(&method, &world.ask(&method, &sample.encode_to_vec()).await?);
        let before = Footprint::of(&world.sandbox).await?;
        let others = other_payloads(&method, &sample)?;
        for (field, other) in &others {
            let answer = world.ask(&method, &other.encode_to_vec()).await?;
            let refused = (answer.code, answer.reason.as_str()) == (6, "REQUEST_ID_REUSED");
            assert!(refused, "{} with another {field}: {answer:?}", method.path());
        }
        let changes = Footprint::of(&world.sandbox).await?.changes_since(&before);
        assert!(changes.is_empty(), "{} changed {changes:?}", method.path());

        let (_, other) = others.first().expect("no other payload");
        let role = method.rule.roles.first().expect("a role");
        let colleague = HOLDERS.iter().find(|(of, _)| of == role).expect("nobody else holds the role").1;
        let mut ask = world.call(&method, &other.encode_to_vec())?;
        ask.token = std::fs::read_to_string(world.sandbox.data().join(colleague))?;
        let answer = world.wire.ask(ask).await?;
        assert_ne!(answer.reason, "REQUEST_ID_REUSED", "{} met another caller's id", method.path());
        assert_ne!(answer.code, 16, "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn each_caller_has_ids_and_effects_of_their_own() -> anyhow::Result<()> {
    let world = World::start().await?;
    let others =
        [world.with_others("elsewhere", "stranger").await?, world.with_others("default", "colleague").await?];
    for method in mutating()? {
        let sample = world.sample(&method).await?;
        let before = Footprint::of(&world.sandbox).await?;
        let first = world.ask(&method, &sample.encode_to_vec()).await?;
        accepted(&method, &first);
        let expected = grown(&before, &Footprint::of(&world.sandbox).await?);
        assert!(!expected.is_empty(), "{} leaves nothing", method.path());
        for other in &others {
            let tenant = &other.callers.tenant;
            let mut theirs = other.sample(&method).await?;
            theirs.set_field_by_name(
                "request_id",
                sample.get_field_by_name("request_id").expect("an id").into_owned(),
            );
            let before = Footprint::of(&world.sandbox).await?;
            let answer = other.ask(&method, &theirs.encode_to_vec()).await?;
            accepted(&method, &answer);
            let after = Footprint::of(&world.sandbox).await?;
            assert_eq!(grown(&before, &after), expected, "{} in {tenant} acts like the first", method.path());
            let again = other.ask(&method, &theirs.encode_to_vec()).await?;
            assert_eq!(
                method.read(again.reply)?,
                method.read(answer.reply)?,
                "{} in {tenant}",
                method.path()
            );
        }
        let again = world.ask(&method, &sample.encode_to_vec()).await?;
        assert_eq!(
            method.read(again.reply)?,
            method.read(first.reply)?,
            "{} is still the first's",
            method.path()
        );
    }
    Ok(())
}

/// The encoding of a message with a map has no order, and so no digest to compare.
#[test]
fn no_request_with_an_id_holds_a_map() -> anyhow::Result<()> {
    fn visit(message: &MessageDescriptor, seen: &mut Vec<String>) {
        if seen.contains(&message.full_name().to_owned()) {
            return;
        }
        seen.push(message.full_name().to_owned());
        for field in message.fields() {
            assert!(!field.is_map(), "{} is a map", field.full_name());
            if let Kind::Message(inner) = field.kind() {
                visit(&inner, seen);
            }
        }
    }
    let methods = bulkhead_tests::probe::methods()?;
    for method in methods.iter().filter(|method| method.rule.mutating) {
        visit(&method.input, &mut Vec::new());
    }
    Ok(())
}

/// The id of what an answer is about, or all of it where it has none.
fn name_of(answer: &serde_json::Value) -> String {
    for (what, id) in [("execution", "executionId"), ("approval", "approvalId")] {
        if let Some(name) = answer[what][id].as_str() {
            return name.to_owned();
        }
    }
    answer.to_string()
}
