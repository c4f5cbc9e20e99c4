//! A store that is full, with real processes: nothing is promised that is not kept, and all works again once
//! there is room.
//!
//! The room is taken by a limit on the size of files (`RLIMIT_FSIZE`) of the running service, which binds root
//! as it binds anybody else.

use std::time::Duration;

use anyhow::Context as _;
use bulkhead_tests::probe::{Answer, Method, World, implemented};
use bulkhead_tests::{eventually, get};
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// Only guards against hanging.
const BOUND: Duration = Duration::from_secs(60);
/// `UNAVAILABLE`: nothing was done, and it may work later.
const UNAVAILABLE: i32 = 14;
/// Refused calls of each kind after the first: after the first failure a store must refuse as clearly as it did then.
const REFUSALS: usize = 3;

/// An RPC that writes, the reason that it gives at first and from then on, and the readiness condition of what it
/// writes to. A model was called before the
/// router could find out, unless its own proof of the store came first; it is not called again.
const WRITERS: [(&str, [&str; 2], &str); 4] = [
    ("ExecuteToolCall", ["STORE_UNAVAILABLE"; 2], "journal"),
    ("CreateApproval", ["STORE_UNAVAILABLE"; 2], "store"),
    ("AppendEvents", ["LOG_UNAVAILABLE"; 2], "audit_log"),
    ("Generate", ["ANSWER_WITHHELD", "STORE_UNAVAILABLE"], "store"),
];

struct Filled {
    pid: Pid,
    before: Rlimit,
}

/// No file of the service can grow or be written from now on.
fn fill(world: &World, service: &str) -> anyhow::Result<Filled> {
    let pid = *world.sandbox.pids(service)?.first().context("it does not run")?;
    let pid = Pid::from_raw(pid).context("a process id")?;
    // What a child has from its parents.
    let maximum = getrlimit(Resource::Fsize).maximum;
    let before = prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(0), maximum })?;
    Ok(Filled { pid, before })
}

impl Filled {
    fn make_room(self) -> anyhow::Result<()> {
        prlimit(Some(self.pid), Resource::Fsize, self.before)?;
        Ok(())
    }
}

async fn readiness(world: &World, service: &str) -> anyhow::Result<String> {
    let (head, body) = get(&world.sandbox.address(service)?, "/readyz").await?;
    Ok(format!("{head}\n{body}"))
}

async fn is_ready_again(world: &World, service: &str) -> anyhow::Result<()> {
    eventually("readiness", BOUND, || async {
        let answer = readiness(world, service).await.unwrap_or_default();
        Ok(answer.starts_with("HTTP/1.1 200").then_some(()))
    })
    .await
}

async fn ask(world: &World, method: &Method, message: &DynamicMessage) -> anyhow::Result<Answer> {
    world.ask(method, &message.encode_to_vec()).await
}

async fn takes(world: &World, method: &Method, message: &DynamicMessage) -> anyhow::Result<Answer> {
    let answer = ask(world, method, message).await?;
    anyhow::ensure!(answer.code == 0, "{}: {answer:?}", method.path());
    Ok(answer)
}

/// The same request again is answered from what was kept.
async fn has_kept(
    world: &World,
    method: &Method,
    message: &DynamicMessage,
    first: &Answer,
) -> anyhow::Result<()> {
    let again = method.read(takes(world, method, message).await?.reply)?;
    if method.rule.method == "AppendEvents" {
        anyhow::ensure!(again["duplicateCount"] == 2, "an acknowledged event is gone: {again}");
    } else {
        anyhow::ensure!(again == method.read(first.reply.clone())?, "an answer was forgotten: {again}");
    }
    Ok(())
}

/// The event that could not be stored is, now that it can.
async fn is_on_record_as_withheld(world: &World, message: &DynamicMessage) -> anyhow::Result<()> {
    let id = message.get_field_by_name("request_id").context("an id")?;
    let id = id.as_str().context("a text")?.to_owned();
    let logs = world.sandbox.data().join("audit/logs");
    eventually("the call in the audit log", BOUND, || async {
        for entry in std::fs::read_dir(&logs)? {
            let text = std::fs::read_to_string(entry?.path())?;
            if text.lines().any(|line| line.contains(&id) && line.contains("ANSWER_WITHHELD")) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .await
}

#[tokio::test]
async fn a_full_store_refuses_says_so_loses_nothing_and_works_again_with_room() -> anyhow::Result<()> {
    let world = World::start().await?;
    let methods = implemented()?;
    for (name, [at_first, later_on], condition) in WRITERS {
        let method = methods.iter().find(|method| method.rule.method == name).expect("an RPC");
        let service = method.process();
        let (kept, later) = (world.sample(method).await?, world.sample(method).await?);
        let first = takes(&world, method, &kept).await?;

        let filled = fill(&world, service)?;
        let mut is_withheld = false;
        for reasons in std::iter::once([at_first, later_on]).chain([[later_on; 2]; REFUSALS]) {
            let refused = ask(&world, method, &later).await?;
            assert_eq!(refused.code, UNAVAILABLE, "{name}: {refused:?}");
            assert!(reasons.contains(&refused.reason.as_str()), "{name}: {refused:?}");
            assert!(refused.says_when_to_retry, "{name}: {refused:?}");
            is_withheld |= refused.reason == "ANSWER_WITHHELD";
        }
        let answer = readiness(&world, service).await?;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(condition), "{service}: {answer}");

        filled.make_room()?;
        is_ready_again(&world, service).await?;
        if is_withheld {
            is_on_record_as_withheld(&world, &later).await?;
        }
        let second = takes(&world, method, &later).await?;
        has_kept(&world, method, &kept, &first).await?;

        world.sandbox.kill(service)?;
        is_ready_again(&world, service).await?;
        // The router keeps its answers in memory.
        if name != "Generate" {
            has_kept(&world, method, &kept, &first).await?;
            has_kept(&world, method, &later, &second).await?;
        }
    }
    Ok(())
}
