//! A short fuzz run over the wire: messages, frames, headers and connections that no client would make, to
//! every RPC with everybody's token. Nothing panics, hangs or is the service's fault, and nobody gets an answer
//! that the contract gives to others.
//!
//! `BULKHEAD_FUZZ_SEED` repeats a run, whose seed every run prints; `BULKHEAD_FUZZ_SECONDS` lets it go on for
//! so long.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod garble;
mod noise;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bulkhead_tests::probe::{Answer, Ask, Method, World, implemented, methods};
use futures::StreamExt as _;
use prost_reflect::DynamicMessage;
use prost_reflect::prost::Message as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

/// Calls of a run that is not told how long to go on; some twenty seconds.
const CALLS: u64 = 2_000;
/// Calls between looks at the clock.
const ROUND: u64 = 200;
/// Calls under way at once.
const AT_ONCE: usize = 16;
/// Connections that do not speak HTTP/2 to the end.
const CONNECTIONS: u64 = 60;

/// Who calls, and the roles that the contract knows them by.
const HOLDERS: [(&str, &[&str]); 5] = [
    ("agent", &["agent"]),
    ("approver", &["approver"]),
    ("operator", &["operator", "approver"]),
    ("auditor", &["auditor"]),
    ("service", &["service"]),
];

/// An RPC with a valid message of it.
#[derive(Debug)]
struct Target {
    method: Method,
    valid: Vec<u8>,
}

#[tokio::test]
async fn no_call_panics_hangs_or_is_the_services_fault() -> anyhow::Result<()> {
    let seed = number("BULKHEAD_FUZZ_SEED")?.unwrap_or_else(rand::random);
    let until = number("BULKHEAD_FUZZ_SECONDS")?.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    println!("BULKHEAD_FUZZ_SEED={seed}");
    let world = World::start().await?;
    let targets = targets(&world).await?;
    for first in 0.. {
        let calls = first * ROUND..(first + 1) * ROUND;
        let calls = futures::stream::iter(calls).map(|call| one(&world, &targets, seed, call));
        let failed: Vec<String> =
            calls.buffer_unordered(AT_ONCE).filter_map(async |failed| failed).collect().await;
        assert!(failed.is_empty(), "BULKHEAD_FUZZ_SEED={seed}\n{}", failed.join("\n"));
        let over = until.map_or((first + 1) * ROUND >= CALLS, |until| Instant::now() >= until);
        if over {
            break;
        }
    }
    for connection in 0..CONNECTIONS {
        noise::send(&world, &mut generator(seed, u64::MAX - connection)).await?;
    }
    unharmed(&world, &targets).await.with_context(|| format!("BULKHEAD_FUZZ_SEED={seed}"))
}

/// Makes one call, and says what is wrong with its answer.
async fn one(world: &World, targets: &[Target], seed: u64, number: u64) -> Option<String> {
    let mut random = generator(seed, number);
    let target = targets.choose(&mut random)?;
    let holder = HOLDERS.choose(&mut random)?;
    let made = garble::call(world, target, holder.0, &mut random);
    let (ask, how) = made.map_err(|error| error.to_string()).expect("a call can be made");
    let answer = world.wire.ask(ask.clone()).await;
    let wrong = match &answer {
        Ok(answer) => fault(&target.method, holder.1, &ask, answer)?,
        Err(error) if how.may_break_http && is_refusal(error) => return None,
        Err(error) => format!("{error:#}"),
    };
    let body = hex(&ask.body);
    Some(format!("call {number}: {} by {} ({}): {wrong}; body {body}", ask.path, holder.0, how.what))
}

fn fault(method: &Method, roles: &[&str], ask: &Ask, answer: &Answer) -> Option<String> {
    let ours = [2, 13, 15].contains(&answer.code);
    let allowed = method.rule.roles.iter().any(|role| roles.contains(&role.as_str()));
    let stolen = answer.code == 0 && (!allowed || ask.token.is_empty());
    let nameless = answer.code != 0 && answer.reason.is_empty();
    (ours || stolen || nameless).then(|| format!("answered {answer:?}"))
}

/// An HTTP answer that says that the caller is wrong, or a stream that was reset for what the caller sent.
fn is_refusal(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("HTTP status 4") || text.contains("stream error") || text.contains("user error")
}

async fn targets(world: &World) -> anyhow::Result<Vec<Target>> {
    let known: Vec<String> = implemented()?.iter().map(Method::path).collect();
    let mut targets = Vec::new();
    for method in methods()? {
        let valid = if known.contains(&method.path()) {
            world.sample(&method).await?
        } else {
            DynamicMessage::new(method.input.clone())
        };
        targets.push(Target { valid: valid.encode_to_vec(), method });
    }
    Ok(targets)
}

/// Every service still answers what is valid, none has panicked, and none was started again.
async fn unharmed(world: &World, targets: &[Target]) -> anyhow::Result<()> {
    for service in ["model-router", "tool-executor", "approval", "audit"] {
        let log = std::fs::read_to_string(world.sandbox.data().join(format!("logs/{service}.log")))?;
        let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
        anyhow::ensure!(panics.is_empty(), "{service} said {panics:#?}");
        anyhow::ensure!(world.is_ready(service).await?, "{service} is not ready");
    }
    for target in targets.iter().filter(|target| !target.valid.is_empty()) {
        let message = world.sample(&target.method).await?.encode_to_vec();
        let answer = world.ask(&target.method, &message).await?;
        anyhow::ensure!([0, 4].contains(&answer.code), "{}: {answer:?}", target.method.path());
    }
    Ok(())
}

/// The same call for the same seed, whichever others are under way.
fn generator(seed: u64, call: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_add(call.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

#[expect(clippy::disallowed_methods, reason = "a test program has no configuration of its own")]
fn number(variable: &str) -> anyhow::Result<Option<u64>> {
    match std::env::var(variable) {
        Ok(text) => Ok(Some(text.parse().with_context(|| format!("{variable} must be a number"))?)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The beginning of a body, for whoever looks into a failure.
fn hex(body: &[u8]) -> String {
    let shown: String = body.iter().take(200).map(|byte| format!("{byte:02x}")).collect();
    format!("{shown} ({} bytes)", body.len())
}
