//! One run, from the first start to the facts.

mod crew;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use super::clock::Clock;
use super::evidence::Evidence;
use super::fault::{Family, Fault, Injection};
use super::house::House;
use super::plan::{Episode, episodes};
use super::probe::{Look, Prober};
use super::record;
use super::timeline::Timeline;
use crate::up::StopSignals;
use crew::{Crew, recovers};

/// How old the last line of a log may be.
const CLOCK_TOLERANCE_SECONDS: u64 = 2;

/// What a run is made from.
#[derive(Debug)]
pub(super) struct Run {
    /// Decides everything.
    pub(super) seed: u64,
    /// How long faults are injected.
    pub(super) length: Duration,
    /// Kinds of faults.
    pub(super) families: Vec<Family>,
    /// What is broken in the services, on purpose.
    pub(super) failpoints: Option<String>,
    /// Where everything lies.
    pub(super) folder: PathBuf,
}

impl Run {
    /// Plays it and brings the facts together; none when somebody asked to stop.
    pub(super) async fn play(
        &self,
        signals: &mut StopSignals,
        timeline: &Timeline,
    ) -> anyhow::Result<Option<Evidence>> {
        let plan = episodes(self.seed, self.length, &self.families);
        anyhow::ensure!(!plan.is_empty(), "the run is too short for any fault; give it more --minutes");
        let house = House::start(&self.folder, &self.families, self.failpoints.clone(), timeline).await?;
        timeline.note("four services and a simulator run");
        let worked = tokio::select! {
            worked = self.work(&plan, &house, timeline) => worked.map(Some),
            () = signals.asked() => Ok(None),
        };
        timeline.note("the services stop");
        let layout = house.stop().await?;
        let Some(mut evidence) = worked? else { return Ok(None) };
        evidence.records = record::read(&layout).await?;
        Ok(Some(evidence))
    }

    async fn work(&self, plan: &[Episode], house: &House, timeline: &Timeline) -> anyhow::Result<Evidence> {
        let crew = Crew::begin(self.seed, house)?;
        let mut evidence =
            Evidence { clocks_are_right: !self.families.contains(&Family::Clock), ..Evidence::default() };
        self.hurt(plan, house, &crew, timeline, &mut evidence).await?;
        timeline.note("nothing hurts any more; what was begun may end");
        crew.finish(house, &mut evidence).await?;
        Ok(evidence)
    }

    /// Injects what is planned. Each episode begins when its time has come and the one before is forgotten, so that
    /// what is seen in it is its own.
    async fn hurt(
        &self,
        plan: &[Episode],
        house: &House,
        crew: &Crew,
        timeline: &Timeline,
        evidence: &mut Evidence,
    ) -> anyhow::Result<()> {
        let origin = timeline.now();
        for episode in plan {
            let planned = episode.injections.first().map(|first| first.at).unwrap_or_default();
            tokio::time::sleep_until(timeline.at(origin + planned).into()).await;
            if !recovers(&crew.prober).await? {
                evidence.restless.push(format!("before {}: not whole again in time", name(episode)));
                return Ok(());
            }
            let now = timeline.now();
            let injections: Vec<Injection> =
                episode.injections.iter().map(|injection| Injection { at: now, ..*injection }).collect();
            let alone = episode.alone().map(|_| injections[0]);
            let inflict =
                futures::future::try_join_all(injections.iter().map(|i| inflict(house, i, timeline)));
            let look = async {
                match alone {
                    Some(injection) => {
                        steps(house, &crew.prober, &injection, timeline).await?;
                        crew.prober.look(&injection, timeline).await
                    }
                    None => Ok(Vec::new()),
                }
            };
            let (_, looks) = tokio::try_join!(inflict, look)?;
            if !looks.is_empty() {
                timeline.note(&seen(&looks));
            }
            evidence.looks.extend(looks);
        }
        Ok(())
    }
}

async fn inflict(house: &House, injection: &Injection, timeline: &Timeline) -> anyhow::Result<()> {
    timeline.note(&format!("{}, for {:.1} s", injection.fault, injection.lasting.as_secs_f64()));
    house.inject(injection).await.with_context(|| injection.fault.to_string())?;
    tokio::time::sleep_until(timeline.at(injection.at + injection.lasting).into()).await;
    house.heal(injection).await.with_context(|| format!("cannot end: {}", injection.fault))?;
    timeline.note(&format!("over: {}", injection.fault));
    Ok(())
}

/// Waits until a clock that is to step has stepped. A run in which it does not would prove nothing.
async fn steps(
    house: &House,
    prober: &Prober,
    injection: &Injection,
    timeline: &Timeline,
) -> anyhow::Result<()> {
    let Fault::StepClock(service, seconds) = injection.fault else { return Ok(()) };
    let log = house.layout().log(service.name());
    while timeline.now() < injection.at + injection.lasting {
        // What is asked makes every service write a line.
        prober.all_is_well().await?;
        let ahead = Clock::seen(&log);
        if ahead.is_some_and(|ahead| ahead.abs_diff(seconds.into()) <= CLOCK_TOLERANCE_SECONDS) {
            return Ok(());
        }
    }
    anyhow::bail!("the clock of {} did not step", service.name())
}

/// What was answered while a fault was in force.
fn seen(looks: &[Look]) -> String {
    let answers: Vec<String> =
        looks.iter().map(|look| format!("{}: {}", look.want.name(), look.answer)).collect();
    format!("seen meanwhile: {}", answers.join("; "))
}

fn name(episode: &Episode) -> String {
    let names: Vec<String> = episode.injections.iter().map(|injection| injection.fault.to_string()).collect();
    names.join(" and ")
}
