//! Everybody who works with the house: agents, a person, an observer, and whoever looks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chaos::agent::{Agent, Told};
use crate::chaos::claim::Decided;
use crate::chaos::evidence::Evidence;
use crate::chaos::house::House;
use crate::chaos::observer::{Observer, Seen};
use crate::chaos::person::Person;
use crate::chaos::probe::Prober;
use crate::chaos::record;
use crate::chaos::voice::Errors;
use crate::serve::Service;

/// Agents that work at the same time.
const AGENTS: u32 = 6;
/// How long a Bulkhead may take to be whole again once nothing hurts it, and then to finish what was begun. Longer than
/// any back-off of the services, and than the longest that an approval can wait: 8 s, and 45 s more where it was asked
/// for while the clock was ahead.
const DRAIN_BOUND: Duration = Duration::from_secs(75);
/// Between two looks at whether it is.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Everybody who works with the house.
pub(super) struct Crew {
    agents: JoinSet<anyhow::Result<Told>>,
    person: JoinHandle<Vec<Decided>>,
    observer: JoinHandle<anyhow::Result<Seen>>,
    /// Whoever looks at what goes on.
    pub(super) prober: Prober,
    errors: Errors,
    /// Nothing new is begun.
    over: CancellationToken,
    /// What is open stays open.
    give_up: CancellationToken,
    /// The person and the observer go.
    home: CancellationToken,
}

impl Crew {
    /// Lets everybody begin.
    pub(super) fn begin(seed: u64, house: &House) -> anyhow::Result<Self> {
        let (over, give_up, home) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let (errors, tracker) = (Errors::default(), TaskTracker::new());
        let executor = ToolExecutorServiceClient::new(house.connect(Service::ToolExecutor, "agent")?);
        let router = ModelRouterServiceClient::new(house.connect(Service::ModelRouter, "agent")?);
        let desk = ApprovalServiceClient::new(house.connect(Service::Approval, "approver")?);
        let workspace = house.layout().workspace();
        let observer = tracker.spawn(Observer::begin(&workspace)?.run(home.clone()));
        let person = Person {
            desk: desk.clone(),
            workspace: workspace.clone(),
            home: home.clone(),
            errors: errors.clone(),
        };
        let person = tracker.spawn(person.run());
        let mut agents = JoinSet::new();
        for number in 0..AGENTS {
            let agent = Agent {
                number,
                seed,
                executor: executor.clone(),
                router: router.clone(),
                workspace: workspace.clone(),
                over: over.clone(),
                give_up: give_up.clone(),
                errors: errors.clone(),
            };
            agents.spawn(agent.run());
        }
        let prober = Prober { executor, router, desk, workspace, names: Arc::default() };
        Ok(Self { agents, person, observer, prober, errors, over, give_up, home })
    }

    /// Lets everything come to its end, within the bound, and takes down what did not.
    pub(super) async fn finish(mut self, house: &House, evidence: &mut Evidence) -> anyhow::Result<()> {
        self.over.cancel();
        if !recovers(&self.prober).await? {
            evidence.restless.push("after the last fault: not whole again in time".to_owned());
        }
        let bound = Instant::now() + DRAIN_BOUND;
        let give_up = self.give_up.clone();
        let in_time = async {
            tokio::time::sleep_until(bound).await;
            give_up.cancel();
            std::future::pending().await
        };
        let told = async {
            let mut told = Vec::new();
            while let Some(ended) = self.agents.join_next().await {
                told.push(ended.context("an agent did not end")??);
            }
            anyhow::Ok(told)
        };
        let told = tokio::select! { told = told => told?, () = in_time => Vec::new() };
        for Told { claims, asked } in told {
            evidence.claims.extend(claims);
            evidence.asked.extend(asked);
        }
        settle(house, evidence, bound).await?;
        evidence.restless.extend(unready(house).await?);
        self.home.cancel();
        evidence.decided = self.person.await.context("the person did not end")?;
        evidence.seen = self.observer.await.context("the observer did not end")??;
        evidence.errors = self.errors.counts();
        Ok(())
    }
}

/// Whether all is well within the bound.
pub(super) async fn recovers(prober: &Prober) -> anyhow::Result<bool> {
    let until = Instant::now() + DRAIN_BOUND;
    while Instant::now() < until {
        if prober.all_is_well().await? {
            return Ok(true);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Ok(false)
}

async fn settle(house: &House, evidence: &mut Evidence, until: Instant) -> anyhow::Result<()> {
    loop {
        let waiting = record::unfinished(house.layout()).await?;
        if waiting == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            evidence
                .restless
                .push(format!("{waiting} executions and events did not come to their end in time"));
            return Ok(());
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Services that do not say that they are ready.
async fn unready(house: &House) -> anyhow::Result<Vec<String>> {
    let mut unready = Vec::new();
    for service in Service::ALL {
        let url = format!("http://{}/readyz", house.address(service)?);
        let answer = reqwest::get(url).await;
        if !answer.is_ok_and(|answer| answer.status().is_success()) {
            unready.push(format!("{} is not ready", service.name()));
        }
    }
    Ok(unready)
}
