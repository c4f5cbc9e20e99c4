use super::*;
use crate::circuit::CircuitPolicy;
use crate::failure::{Failure, Kind};
use crate::health::HealthPolicy;

const PATIENCE: Duration = Duration::from_secs(10);
const HEALTH: HealthPolicy = HealthPolicy {
    unusable: Duration::from_secs(60),
    circuit: CircuitPolicy { failures: 5, open: Duration::from_secs(15), open_max: Duration::from_secs(60) },
    probe: Duration::from_secs(30),
};

fn candidate(index: usize, name: &str, local: bool, now: Instant) -> Candidate {
    Candidate {
        index,
        name: name.into(),
        local,
        attempts_max: 3,
        weight: 1,
        inexpressible: vec![],
        overlong: None,
        state: ModelState::new(now),
        room: Fit::Now,
    }
}

fn chain(now: Instant) -> [Candidate; 3] {
    [
        candidate(0, "primary", false, now),
        candidate(1, "fallback", false, now),
        candidate(2, "local", true, now),
    ]
}

fn summary(plan: &Plan) -> (Vec<&str>, Vec<(&str, &str)>) {
    let planned = plan.planned.iter().map(|planned| planned.name.as_str()).collect();
    let excluded = plan.excluded.iter().map(|e| (e.name.as_str(), e.reason.as_str())).collect();
    (planned, excluded)
}

#[test]
fn a_healthy_chain_is_tried_in_order() {
    let now = Instant::now();
    let plan = plan(&chain(now), false, PATIENCE, now);
    assert_eq!(summary(&plan), (vec!["primary", "fallback", "local"], vec![]));
}

#[test]
fn a_local_only_request_sees_local_models_alone() {
    let now = Instant::now();
    let plan = plan(&chain(now), true, PATIENCE, now);
    assert_eq!(summary(&plan), (vec!["local"], vec![("primary", "NOT_LOCAL"), ("fallback", "NOT_LOCAL")]));
    assert_eq!(plan.excluded[0].until, None, "waiting does not make it local");
}

#[test]
fn a_model_that_cannot_be_told_what_is_wanted_is_left_out() {
    let now = Instant::now();
    let mut chain = chain(now);
    chain[0].inexpressible = vec!["seed", "stop_sequences"];
    let plan = plan(&chain, false, PATIENCE, now);
    assert_eq!(summary(&plan), (vec!["fallback", "local"], vec![("primary", "NOT_EXPRESSIBLE")]));
    assert_eq!(plan.excluded[0].detail, "its provider has no words for seed, stop_sequences");
    assert_eq!(plan.excluded[0].until, None, "waiting does not help");
}

#[test]
fn a_model_that_the_request_surely_does_not_fit_is_left_out() {
    let now = Instant::now();
    let mut chain = chain(now);
    let size = Size { prompt_tokens: 30_000, answer_tokens_max: Some(500), ..Size::default() };
    chain[0].overlong = Some(Overlong { size, window_tokens: 8_192 });
    let plan = plan(&chain, false, PATIENCE, now);
    assert_eq!(summary(&plan), (vec!["fallback", "local"], vec![("primary", "CONTEXT_LENGTH")]));
    let told = "the prompt has some 30000 tokens and the answer may have 500; its context window has 8192";
    assert_eq!((plan.excluded[0].detail.as_str(), plan.excluded[0].until), (told, None));
}

#[test]
fn a_model_that_is_too_small_ends_a_plan_only_before_the_first_choice() {
    let now = Instant::now();
    let size = Size { prompt_tokens: 30_000, ..Size::default() };
    let cases = [
        (vec![], vec!["primary", "fallback", "local"]),
        (vec![1], vec!["primary", "local"]),
        (vec![0], vec![]),
        (vec![0, 1], vec![]),
        (vec![0, 1, 2], vec![]),
    ];
    for (too_small, planned) in cases {
        let mut chain = chain(now);
        for at in &too_small {
            chain[*at].overlong = Some(Overlong { size, window_tokens: 8_192 });
        }
        let plan = plan(&chain, false, PATIENCE, now).ended_by_length();
        let (told, excluded) = summary(&plan);
        assert_eq!(told, planned, "{too_small:?}");
        assert!(excluded.iter().all(|(_, why)| *why == "CONTEXT_LENGTH"), "{excluded:?}");
        assert_eq!(plan.is_first_choice_too_small(), planned.is_empty(), "{too_small:?}");
        assert!(plan.excluded.is_sorted_by_key(|excluded| excluded.rank));
    }
}

#[test]
fn what_money_stands_against_is_left_out_in_its_place() {
    let now = Instant::now();
    let mut chain = chain(now);
    chain[2].inexpressible = vec!["seed"];
    let too_dear = |index| {
        let (reason, detail) = (Reason::CostLimitReached, "it may cost too much".to_owned());
        (index == 0).then_some(Denial { reason, until: None, detail })
    };
    let plan = plan(&chain, false, PATIENCE, now).without(too_dear);
    let excluded = vec![("primary", "COST_LIMIT_REACHED"), ("local", "NOT_EXPRESSIBLE")];
    assert_eq!(summary(&plan), (vec!["fallback"], excluded));
    assert_eq!((plan.planned[0].rank, plan.excluded[0].rank), (1, 0));
}

#[test]
fn a_limit_without_room_is_waited_for_within_patience() {
    let now = Instant::now();
    let mut chain = chain(now);
    let at = |seconds| now + Duration::from_secs(seconds);
    (chain[0].room, chain[1].room, chain[2].room) = (Fit::At(at(11)), Fit::Never, Fit::At(at(10)));
    let plan = plan(&chain, false, PATIENCE, now);
    let excluded = vec![("primary", "RATE_LIMITED_HERE"), ("fallback", "RATE_LIMITED_HERE")];
    assert_eq!(summary(&plan), (vec!["local"], excluded));
    assert_eq!(plan.planned[0].wait, Duration::from_secs(10));
    assert_eq!((plan.excluded[0].until, plan.excluded[1].until), (Some(at(11)), None));
}

#[test]
fn marked_and_delayed_models_are_left_out_until_their_time() {
    let now = Instant::now();
    let mut chain = chain(now);
    chain[0].state.failed(&Failure::without_response(Kind::ModelNotFound, ""), now, &HEALTH);
    let delay = Some(Duration::from_secs(11));
    let limited = Failure { server_delay: delay, ..Failure::without_response(Kind::RateLimited, "") };
    chain[1].state.failed(&limited, now, &HEALTH);

    let first = plan(&chain, false, PATIENCE, now);
    let excluded = vec![("primary", "MARKED_UNUSABLE"), ("fallback", "DELAYED_BY_SERVER")];
    assert_eq!(summary(&first), (vec!["local"], excluded));
    assert_eq!(first.excluded[1].until, Some(now + Duration::from_secs(11)));

    let soon = plan(&chain, false, PATIENCE, now + Duration::from_secs(2));
    assert_eq!(soon.planned[0].wait, Duration::from_secs(9), "within patience it is waited for");
    let later = plan(&chain, false, PATIENCE, now + Duration::from_secs(61));
    assert_eq!(later.planned.len(), 3);
}
