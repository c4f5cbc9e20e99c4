//! Places under contention.

use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::*;
use crate::limit::quota::{Left, Quota};

const BOUNDS: Bounds = Bounds { min: 1, max: 4 };
const PATIENCE: Duration = Duration::from_secs(60);

fn open(limits: &ModelLimits) -> u32 {
    limits.concurrency(0).expect("a model").open()
}

#[tokio::test]
async fn a_crowd_is_let_through_a_few_at_a_time_and_all_of_it() {
    let limits = Arc::new(ModelLimits::new([BOUNDS]));
    let (now_open, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let call = |at: u32| {
        let (limits, now_open, most) = (&limits, &now_open, &most);
        async move {
            let mut place = limits.begin(0, 1, PATIENCE).await.expect("a place");
            most.fetch_max(now_open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            now_open.fetch_sub(1, Ordering::Relaxed);
            place.sign(if at.is_multiple_of(7) { Sign::TooMuch } else { Sign::Answered });
        }
    };
    futures::future::join_all((0..500).map(call)).await;
    assert_eq!((open(&limits), most.load(Ordering::Relaxed)), (0, 4));
}

#[tokio::test]
async fn who_waits_too_long_or_leaves_takes_nothing() {
    let limits = Arc::new(ModelLimits::new([Bounds { min: 1, max: 1 }]));
    let first = limits.begin(0, 1, PATIENCE).await.expect("a place");
    assert_eq!(limits.begin(0, 1, Duration::from_millis(10)).await.err(), Some(Full::Open));
    {
        let waiting = limits.begin(0, 1, PATIENCE);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(first);
        // It was told that there is room, and leaves without taking it.
    }
    assert_eq!(open(&limits), 0);
    drop(limits.begin(0, 1, Duration::ZERO).await.expect("the place is free"));
}

#[tokio::test]
async fn what_is_handed_on_counts_those_that_are_open() {
    let before = Arc::new(ModelLimits::new([Bounds { min: 1, max: 1 }; 2]));
    let open = before.begin(1, 1, PATIENCE).await.expect("a place");
    let bounds = [Bounds { min: 1, max: 1 }; 2];
    let after = Arc::new(before.handed_on(&[Some(1), None], bounds));
    assert!(matches!(after.try_begin(0, 1, Instant::now()), Err(Full::Open)), "one is open already");
    drop(after.try_begin(1, 1, Instant::now()).expect("a new one has none"));
    let waiting = after.begin(0, 1, PATIENCE);
    tokio::pin!(waiting);
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    drop(open);
    drop(waiting.await.expect("who waits hears that a call of before has ended"));
    let wider = Arc::new(after.handed_on(&[Some(0)], [Bounds { min: 1, max: 9 }]));
    assert_eq!(wider.concurrency(0).map(|concurrency| concurrency.limit()), Some(9));
}

#[test]
fn what_the_provider_has_left_is_shared_by_all_who_send() {
    let limits = Arc::new(ModelLimits::new([BOUNDS]));
    let now = Instant::now();
    let told = limits.try_begin(0, 10, now).expect("a place");
    let mut other = limits.try_begin(0, 10, now).expect("another");
    other.sent();
    let left = |amount| Some(Left { amount, reset: Duration::from_secs(9) });
    told.told().quota(Quota { requests: left(2), tokens: left(30) });
    assert_eq!(limits.look(0, 20, now), Fit::Now, "ten of the thirty are the other's");
    assert!(matches!(limits.look(0, 21, now), Fit::At(_)));
    let mut last = limits.try_begin(0, 5, now).expect("the last of two");
    assert!(matches!(limits.try_begin(0, 5, now), Err(Full::Until(_))));
    last.sent();
    drop((told, other, last));
    assert!(matches!(limits.look(0, 1, now), Fit::At(_)), "nobody said that there is more");
    assert_eq!(limits.look(0, 1, now + Duration::from_secs(10)), Fit::Now);
}

#[test]
fn a_server_counts_what_it_has_answered_and_its_first_word_counts_once() {
    let limits = Arc::new(ModelLimits::new([Bounds { min: 9, max: 9 }]));
    let now = Instant::now();
    let left = |amount| Quota {
        requests: Some(Left { amount, reset: Duration::from_secs(9) }),
        tokens: Some(Left { amount: 1_000, reset: Duration::from_secs(9) }),
    };
    let [first, second] = [(); 2].map(|()| limits.try_begin(0, 10, now).expect("a place"));
    first.told().quota(left(3));
    first.told().quota(left(100));
    // Both have been answered by now, so the second word counts them.
    second.told().quota(left(2));
    let mut more = [(); 2].map(|()| limits.try_begin(0, 10, now).expect("two are left"));
    more.iter_mut().for_each(Place::sent);
    assert!(matches!(limits.try_begin(0, 10, now), Err(Full::Until(_))));
    drop((first, second, more));
    assert!(matches!(limits.try_begin(0, 10, now), Err(Full::Until(_))), "an end says nothing of the quota");
}

#[test]
fn a_place_that_was_not_used_takes_nothing_of_what_the_provider_has_left() {
    let limits = Arc::new(ModelLimits::new([BOUNDS]));
    let now = Instant::now();
    let early = limits.try_begin(0, 30, now).expect("a place");
    let first = limits.try_begin(0, 1, now).expect("a place");
    let left = |amount| Some(Left { amount, reset: Duration::from_secs(9) });
    first.told().quota(Quota { requests: left(2), tokens: left(40) });
    drop(limits.try_begin(0, 10, now).expect("beside the other"));
    let last = limits.try_begin(0, 10, now).expect("it was given back");
    assert!(matches!(limits.try_begin(0, 0, now), Err(Full::Until(_))), "two are under way");
    // It was begun before the server's word, from which it was taken off.
    drop(early);
    assert_eq!(limits.look(0, 30, now), Fit::Now);
    drop(last);
    assert_eq!((limits.look(0, 40, now), open(&limits)), (Fit::Now, 1));
    assert!(matches!(limits.look(0, 41, now), Fit::At(_)), "never more than was there");
}

#[tokio::test]
async fn who_came_first_goes_first_however_many_leave_and_whoever_comes_later() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let limits = Arc::new(ModelLimits::new([Bounds { min: 2, max: 2 }]));
    let mut held = vec![
        limits.begin(0, 1, PATIENCE).await.expect("a place"),
        limits.begin(0, 1, PATIENCE).await.expect("another"),
    ];
    let mut waiting: Vec<_> = (0..200).map(|at| (at, Box::pin(limits.begin(0, 1, PATIENCE)))).collect();
    for (at, one) in &mut waiting {
        assert!(one.now_or_never().is_none(), "{at} waits");
    }
    let mut served = Vec::new();
    let mut left = Vec::new();
    while !waiting.is_empty() {
        if dice.random_range(0..3) == 0 {
            // Perhaps one who was told already that there is a place.
            left.push(waiting.remove(dice.random_range(0..waiting.len().min(4))).0);
        } else if !held.is_empty() {
            drop(held.remove(0));
        }
        let barging = limits.try_begin(0, 1, Instant::now());
        assert!(barging.is_err() || waiting.is_empty(), "seed {seed}: nobody passes those who wait");
        drop(barging);
        // Those who were told may look in any order.
        let mut looks: Vec<usize> = (0..waiting.len()).collect();
        looks.reverse();
        let mut done = Vec::new();
        for at in looks {
            if let Some(place) = (&mut waiting[at].1).now_or_never() {
                held.push(place.expect("a place"));
                done.push(at);
            }
        }
        for at in done {
            served.push(waiting.remove(at).0);
        }
        assert!(open(&limits) <= 2, "seed {seed}");
    }
    let mut sorted = served.clone();
    sorted.sort_unstable();
    assert_eq!(served, sorted, "seed {seed}");
    assert_eq!(served.len() + left.len(), 200, "seed {seed}");
    held.clear();
    assert_eq!(open(&limits), 0);
    drop(limits.begin(0, 1, Duration::ZERO).await.expect("the places are free"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_is_lost_when_many_threads_wait_and_leave() {
    let limits = Arc::new(ModelLimits::new([Bounds { min: 1, max: 3 }]));
    let mut calls = JoinSet::new();
    for at in 0..2_000_u64 {
        let limits = Arc::clone(&limits);
        calls.spawn(async move {
            let patience = if at.is_multiple_of(3) { Duration::from_micros(at) } else { PATIENCE };
            let place = limits.begin(0, 1, patience).await;
            tokio::task::yield_now().await;
            place.is_ok() || at.is_multiple_of(3)
        });
    }
    let served = tokio::time::timeout(PATIENCE, calls.join_all()).await.expect("nobody waits for ever");
    assert!(served.iter().all(|served| *served), "who is patient is served");
    assert_eq!(open(&limits), 0);
    let all = [(); 3].map(|()| limits.try_begin(0, 1, Instant::now()));
    assert!(all.iter().all(Result::is_ok), "all places are free and nobody stands in the line");
}
