//! What a run does, from its seed alone. Pure: the same seed, length and kinds of faults give the same plan. What
//! the processes make of it depends on their scheduling, which no seed decides.

pub(super) mod acts;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::fault::{CrashPoint, Cut, Family, Fault, Injection, ModelOutage, Wire};
use crate::serve::Service;

/// Undisturbed, so that there is something to disturb, and something to compare with.
const QUIET_FIRST: Duration = Duration::from_millis(1_500);
/// Between two episodes, in milliseconds.
const QUIET_BETWEEN_MS: std::ops::Range<u64> = 400..1_600;
/// How long a fault is in force, in milliseconds. Longer than every timeout of the services under test, so that what
/// has to stop does stop while somebody looks.
const LASTING_MS: std::ops::Range<u64> = 2_500..4_500;
/// One episode in so many is a storm of several faults at once.
const STORM_ONE_IN: u32 = 4;
/// Passes through a crash point before the process dies there: at first, and after some work.
const PASSES: std::ops::Range<u32> = 1..6;
/// Clocks step by so many seconds at most: the verifier allows services to be a minute apart.
const CLOCK_STEP_SECONDS_MAX: i32 = 45;

/// Every place at which some service can be made to die: all that a build with failpoints has.
fn crash_points() -> Vec<CrashPoint> {
    let points = bulkhead_failpoint::CRASHES.iter().flat_map(|point| {
        let services: &[Service] = match point.name.split('.').next() {
            Some("fs" | "executor") => &[Service::ToolExecutor],
            Some("approval") => &[Service::Approval],
            Some("audit") => &[Service::Audit],
            Some("outbox") => &[Service::ToolExecutor, Service::Approval, Service::ModelRouter],
            _ => &[],
        };
        services.iter().map(|service| CrashPoint { service: *service, name: point.name })
    });
    points.collect()
}

/// Faults that begin together. One alone is also looked at through probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Episode {
    /// What is injected; never empty.
    pub(super) injections: Vec<Injection>,
}

impl Episode {
    /// The only fault, if there is one alone.
    pub(super) fn alone(&self) -> Option<Injection> {
        match self.injections[..] {
            [alone] => Some(alone),
            _ => None,
        }
    }

    /// When all of it is over.
    pub(super) fn end(&self) -> Duration {
        let ends = self.injections.iter().map(|injection| injection.at + injection.lasting);
        ends.max().unwrap_or_default()
    }
}

/// The episodes of a run of this length, in order and apart from each other; none when it is too short for any.
pub(super) fn episodes(seed: u64, length: Duration, families: &[Family]) -> Vec<Episode> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut decks: Vec<Deck> = families.iter().map(|family| Deck::of(*family, &mut random)).collect();
    let mut episodes = Vec::new();
    let mut at = QUIET_FIRST;
    let mut turn = 0;
    while !decks.is_empty() {
        // A new order for every round, and every kind once in each.
        if turn % decks.len() == 0 {
            decks.shuffle(&mut random);
        }
        let place = turn % decks.len();
        let fault = decks[place].draw(&mut random);
        let mut faults = vec![fault];
        if turn >= decks.len() && random.random_ratio(1, STORM_ONE_IN) {
            faults.extend(storm(fault, &mut decks, &mut random));
        }
        let begin = |fault| Injection { fault, at, lasting: milliseconds(LASTING_MS, &mut random) };
        let episode = Episode { injections: faults.into_iter().map(begin).collect() };
        at = episode.end() + milliseconds(QUIET_BETWEEN_MS, &mut random);
        if episode.end() > length {
            break;
        }
        episodes.push(episode);
        turn += 1;
    }
    episodes
}

/// What else happens at once.
fn storm(first: Fault, decks: &mut [Deck], random: &mut StdRng) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for deck in decks {
        let fault = deck.draw(random);
        if !fault.collides(first) && !faults.iter().any(|other| other.collides(fault)) && faults.len() < 2 {
            faults.push(fault);
        }
    }
    faults
}

fn milliseconds(range: std::ops::Range<u64>, random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(range))
}

/// The variants of one kind, each once before any comes again.
#[derive(Debug)]
struct Deck {
    family: Family,
    left: Vec<Fault>,
}

impl Deck {
    fn of(family: Family, random: &mut StdRng) -> Self {
        let mut deck = Self { family, left: Vec::new() };
        deck.fill(random);
        deck
    }

    fn fill(&mut self, random: &mut StdRng) {
        self.left = match self.family {
            Family::Kill => Service::ALL.map(Fault::Kill).to_vec(),
            Family::Pause => Service::ALL.map(Fault::Pause).to_vec(),
            Family::Cut => {
                let ways = [Cut::Refusing, Cut::Silent];
                Wire::ALL.iter().flat_map(|wire| ways.map(|how| Fault::Cut(*wire, how))).collect()
            }
            Family::Model => {
                [ModelOutage::Resets, ModelOutage::Overloaded, ModelOutage::Silent].map(Fault::Model).to_vec()
            }
            Family::Disk => Service::ALL.map(Fault::FillDisk).to_vec(),
            Family::Clock => Service::ALL.map(|service| Fault::StepClock(service, step(random))).to_vec(),
            Family::Crash => {
                let at = |point| Fault::Crash(point, random.random_range(PASSES));
                crash_points().into_iter().map(at).collect()
            }
        };
        self.left.shuffle(random);
    }

    fn draw(&mut self, random: &mut StdRng) -> Fault {
        loop {
            match self.left.pop() {
                Some(fault) => return fault,
                None => self.fill(random),
            }
        }
    }
}

/// Forward or back, never nothing.
fn step(random: &mut StdRng) -> i32 {
    let seconds = random.random_range(10..=CLOCK_STEP_SECONDS_MAX);
    if random.random() { seconds } else { -seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [Family; 7] = Family::ALL;

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        let plan = |seed| episodes(seed, Duration::from_secs(120), &EVERY);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn every_kind_comes_alone_before_any_storm() {
        for seed in 0..50 {
            let plan = episodes(seed, Duration::from_secs(120), &EVERY);
            let first: Vec<Family> =
                plan.iter().take(EVERY.len()).filter_map(Episode::alone).map(|i| i.fault.family()).collect();
            for family in EVERY {
                assert!(first.contains(&family), "seed {seed}: {family:?} is not among {first:?}");
            }
        }
    }

    #[test]
    fn episodes_stay_within_the_run_and_apart() {
        for seed in 0..50 {
            let length = Duration::from_secs(90);
            let plan = episodes(seed, length, &EVERY);
            assert!(plan.len() > 10, "seed {seed}: {}", plan.len());
            for pair in plan.windows(2) {
                assert!(pair[0].end() < pair[1].injections[0].at, "seed {seed}");
            }
            assert!(plan.iter().all(|episode| episode.end() <= length), "seed {seed}");
        }
    }

    #[test]
    fn what_happens_at_once_does_not_collide() {
        let mut storms = 0;
        for seed in 0..50 {
            for episode in episodes(seed, Duration::from_secs(300), &EVERY) {
                let faults: Vec<Fault> = episode.injections.iter().map(|i| i.fault).collect();
                for (index, fault) in faults.iter().enumerate() {
                    assert!(
                        !faults[..index].iter().any(|other| other.collides(*fault)),
                        "seed {seed}: {faults:?}"
                    );
                }
                storms += usize::from(faults.len() > 1);
            }
        }
        assert!(storms > 100, "{storms}");
    }

    #[test]
    fn every_failpoint_that_kills_belongs_to_somebody() {
        let points = crash_points();
        for known in bulkhead_failpoint::CRASHES {
            assert!(points.iter().any(|point| point.name == known.name), "{}", known.name);
        }
    }

    #[test]
    fn without_kinds_or_time_nothing_is_injected() {
        assert_eq!(episodes(1, Duration::from_secs(60), &[]), []);
        assert_eq!(episodes(1, Duration::from_secs(2), &EVERY), []);
    }
}
