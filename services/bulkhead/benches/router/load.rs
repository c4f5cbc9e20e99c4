//! Callers that call as fast as they are answered.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::call::{Caller, Shape, Way, channel};
use crate::child::Child;
use crate::house::House;

/// Callers that share a channel, as those of one program do.
const CALLERS_PER_CHANNEL: usize = 16;

/// What one round saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Half of the calls took no longer.
    pub(crate) p50: Duration,
    /// And 99 in 100 no longer than this.
    pub(crate) p99: Duration,
    /// Calls answered in a second.
    pub(crate) per_second: f64,
    /// Processor time of what is between, for a call.
    pub(crate) cpu: Duration,
    /// And of audit.
    pub(crate) audit: Duration,
    /// What is between holds in memory at the end, in KiB.
    pub(crate) memory: u64,
}

/// How long callers go on.
#[derive(Debug, Clone, Copy)]
enum Until {
    Time(Instant),
    Calls(usize),
}

/// Lets `callers` call for a while.
pub(crate) async fn measure(
    house: &House,
    way: Way,
    shape: Shape,
    callers: usize,
    during: Duration,
) -> anyhow::Result<Round> {
    let ready = gather(house, way, shape, callers).await?;
    let between = between(house, way);
    let (before, audit) = (between.cpu()?, house.audit.cpu()?);
    let started = Instant::now();
    let mut latencies = run(ready, Until::Time(started + during)).await?;
    let elapsed = started.elapsed();
    let (cpu, audit) = (between.cpu()?.saturating_sub(before), house.audit.cpu()?.saturating_sub(audit));
    latencies.sort_unstable();
    let calls = latencies.len();
    ensure!(calls > 0, "no call was answered");
    let count = u32::try_from(calls)?;
    Ok(Round {
        p50: latencies[calls / 2],
        p99: latencies[calls * 99 / 100],
        per_second: f64::from(count) / elapsed.as_secs_f64(),
        cpu: cpu / count,
        audit: audit / count,
        memory: between.memory()?,
    })
}

/// Lets `callers` make so many calls in all.
pub(crate) async fn calls(
    house: &House,
    way: Way,
    shape: Shape,
    callers: usize,
    count: usize,
) -> anyhow::Result<()> {
    let ready = gather(house, way, shape, callers).await?;
    run(ready, Until::Calls(count.div_ceil(callers))).await.map(drop)
}

/// The process whose cost is measured.
fn between(house: &House, way: Way) -> &Child {
    match way {
        Way::Direct => &house.simulator,
        Way::Proxy => &house.proxy,
        Way::Gateway => &house.gateway,
        Way::Grpc | Way::Api => &house.router,
    }
}

async fn gather(house: &House, way: Way, shape: Shape, callers: usize) -> anyhow::Result<Vec<Caller>> {
    let mut ready = Vec::new();
    let mut shared = None;
    for caller in 0..callers {
        if way.is_grpc() {
            if caller % CALLERS_PER_CHANNEL == 0 {
                shared = Some(channel(&between(house, way).address).await?);
            }
            ready.extend(shared.clone().map(|channel| Caller::grpc(channel, shape)));
        } else {
            ready.push(Caller::http(&between(house, way).address, shape).await?);
        }
    }
    Ok(ready)
}

async fn run(ready: Vec<Caller>, until: Until) -> anyhow::Result<Vec<Duration>> {
    let mut running = JoinSet::new();
    for caller in ready {
        running.spawn(call_until(caller, until));
    }
    let mut latencies = Vec::new();
    while let Some(done) = running.join_next().await {
        latencies.extend(done??);
    }
    Ok(latencies)
}

async fn call_until(mut caller: Caller, until: Until) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    loop {
        let is_over = match until {
            Until::Time(end) => Instant::now() >= end,
            Until::Calls(count) => latencies.len() >= count,
        };
        if is_over {
            return Ok(latencies);
        }
        latencies.push(caller.call().await?);
    }
}
