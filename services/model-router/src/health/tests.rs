use std::sync::Barrier;

use proptest::prelude::*;

use super::*;

const CIRCUIT: CircuitPolicy =
    CircuitPolicy { failures: 3, open: Duration::from_secs(15), open_max: Duration::from_secs(60) };
const POLICY: HealthPolicy =
    HealthPolicy { unusable: Duration::from_secs(60), circuit: CIRCUIT, probe: Duration::from_secs(30) };

fn begin(health: &Health, now: Instant) -> Option<Turn<'_>> {
    begin_at(health, 0, now)
}

fn begin_at(health: &Health, model: usize, now: Instant) -> Option<Turn<'_>> {
    match health.begin(model, Start::First, now) {
        Begun::Turn(turn) => Some(turn),
        Begun::Later(_) | Begun::Blocked => None,
    }
}

fn failure(kind: Kind) -> Failure {
    Failure::without_response(kind, "")
}

#[test]
fn a_mark_lasts_its_time_and_an_answer_removes_it() {
    let now = Instant::now();
    let mut state = ModelState::new(now);
    state.failed(&failure(Kind::Unauthenticated), now, &POLICY);
    assert_eq!(state.block(now), Some(Block::Marked(Kind::Unauthenticated, now + POLICY.unusable)));
    assert_eq!(state.block(now + POLICY.unusable), None);
    state.answered();
    assert_eq!(state.block(now), None);
}

#[test]
fn a_circuit_is_shown_as_it_stands() {
    let now = Instant::now();
    let mut state = ModelState::new(now);
    assert_eq!(state.circuit(now), Circuit::Closed);
    (0..CIRCUIT.failures).for_each(|_| state.failed(&failure(Kind::ServerError), now, &POLICY));
    assert_eq!(state.circuit(now), Circuit::Open);
    let later = now + CIRCUIT.open;
    assert_eq!(state.circuit(later), Circuit::HalfOpen, "the next request is the probe");
    state.begin(Start::First, later, &POLICY);
    assert_eq!(state.circuit(later), Circuit::HalfOpen);
    state.answered();
    assert_eq!(state.circuit(later), Circuit::Closed);
    state.failed(&failure(Kind::Unauthenticated), later, &POLICY);
    assert_eq!(state.circuit(later), Circuit::Marked);
}

#[test]
fn a_delay_is_never_shortened() {
    let now = Instant::now();
    let mut state = ModelState::new(now);
    for seconds in [9, 2] {
        let server_delay = Some(Duration::from_secs(seconds));
        state.failed(&Failure { server_delay, ..failure(Kind::RateLimited) }, now, &POLICY);
    }
    assert_eq!(state.delay(now + Duration::from_secs(1)), Duration::from_secs(8));
    state.answered();
    assert_eq!(state.delay(now), Duration::from_secs(9), "an answer to another request does not void it");
}

#[test]
fn a_servers_delay_binds_all_only_where_waiting_helps_and_for_a_time() {
    let day = Duration::from_secs(24 * 60 * 60);
    let minute = Duration::from_secs(60);
    let cases = [
        (Kind::RateLimited, minute, minute),
        (Kind::Overloaded, day, SHARED_DELAY_MAX),
        (Kind::RateLimited, Duration::MAX, SHARED_DELAY_MAX),
        (Kind::InvalidRequest, day, Duration::ZERO),
        (Kind::ContextLength, day, Duration::ZERO),
        (Kind::Forbidden, day, Duration::ZERO),
    ];
    for (kind, told, expected) in cases {
        let now = Instant::now();
        let mut state = ModelState::new(now);
        state.failed(&Failure { server_delay: Some(told), ..failure(kind) }, now, &POLICY);
        assert_eq!(state.delay(now), expected, "{kind:?} {told:?}");
    }
}

#[test]
fn a_circuit_opens_after_failures_in_a_row_and_lets_one_probe_through() {
    let now = Instant::now();
    let mut state = ModelState::new(now);
    for _ in 0..3 {
        assert_eq!(state.block(now), None);
        state.failed(&failure(Kind::ServerError), now, &POLICY);
    }
    assert_eq!(state.block(now), Some(Block::CircuitOpen(FailureClass::Failing, now + CIRCUIT.open)));

    let later = now + CIRCUIT.open;
    assert_eq!(state.block(later), None);
    assert_eq!(state.begin(Start::First, later, &POLICY), Some(later + POLICY.probe));
    assert_eq!(state.block(later), Some(Block::Probed(later + POLICY.probe)));
    let mut failed = state;
    failed.failed(&failure(Kind::ServerError), later, &POLICY);
    assert_eq!(
        failed.block(later),
        Some(Block::CircuitOpen(FailureClass::Failing, later + CIRCUIT.open * 2))
    );
    state.answered();
    assert_eq!(state.block(later), None);
}

#[test]
fn failures_that_are_not_the_models_fault_open_nothing() {
    let now = Instant::now();
    let mut state = ModelState::new(now);
    for _ in 0..10 {
        state.failed(&failure(Kind::RateLimited), now, &POLICY);
        state.failed(&failure(Kind::InvalidRequest), now, &POLICY);
    }
    assert_eq!(state.block(now), None);
}

#[test]
fn whoever_comes_after_a_wait_keeps_the_delay_that_was_told_meanwhile() {
    let now = Instant::now();
    let health = Health::new(1, POLICY, now);
    let server_delay = Some(Duration::from_secs(9));
    let limited = Failure { server_delay, ..failure(Kind::RateLimited) };
    begin(&health, now).expect("a turn").failed(&limited, now);
    assert!(matches!(health.begin(0, Start::Repair, now), Begun::Later(Start::Repair)));
    assert!(begin(&health, now + Duration::from_secs(9)).is_some());
}

#[test]
fn two_requests_cannot_both_take_the_probe() {
    let now = Instant::now();
    let health = Health::new(1, POLICY, now);
    open(&health, now);
    assert!(begin(&health, now).is_none());
    let later = now + CIRCUIT.open;
    let probe = begin(&health, later);
    assert!(probe.is_some());
    assert!(begin(&health, later).is_none());
}

fn open(health: &Health, now: Instant) {
    for _ in 0..3 {
        begin(health, now).expect("a turn").failed(&failure(Kind::Connect), now);
    }
}

#[test]
fn what_is_handed_on_is_the_same_state_at_another_place() {
    let now = Instant::now();
    let before = Health::new(2, POLICY, now);
    open(&before, now);
    let late = begin_at(&before, 1, now).expect("a turn");
    let after = before.handed_on(&[Some(1), None, Some(0)], POLICY, now);
    assert!(after.state(2, now).block(now).is_some(), "its circuit is open");
    assert_eq!(after.state(1, now), ModelState::new(now));
    assert_eq!(after.state(0, now).in_flight(), 1);
    late.failed(&failure(Kind::Unauthenticated), now);
    assert!(after.state(0, now).block(now).is_some(), "what a call of before found out counts");
    assert_eq!(after.state(0, now).in_flight(), 0);
}

#[test]
fn a_probe_that_learned_nothing_is_free_for_another() {
    let now = Instant::now();
    let health = Health::new(1, POLICY, now);
    open(&health, now);
    let later = now + CIRCUIT.open;
    drop(begin(&health, later).expect("the probe"));
    begin(&health, later).expect("again").failed(&failure(Kind::RateLimited), later);
    begin(&health, later).expect("a rate limit is no answer").answered();
    assert_eq!(health.state(0, later).block(later), None);
}

#[test]
fn who_comes_late_does_not_end_the_probe_of_another() {
    let now = Instant::now();
    let health = Health::new(1, POLICY, now);
    let slow = begin(&health, now).expect("a turn");
    open(&health, now);
    let later = now + CIRCUIT.open;
    let _probe = begin(&health, later).expect("the probe");
    slow.failed(&failure(Kind::RateLimited), later);
    assert!(begin(&health, later).is_none(), "it is still being found out");
}

#[test]
fn decisions_at_the_same_time_do_not_share_a_payment() {
    let now = Instant::now();
    let health = Health::new(1, POLICY, now);
    let start = Barrier::new(50);
    let decide = || {
        start.wait();
        let paid = (0..4).map(|_| health.pay_retry(0, now)).filter(Option::is_some);
        paid.count()
    };
    let retries: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(decide)).collect();
        threads.into_iter().map(|thread| thread.join().expect("counts")).sum()
    });
    assert_eq!(retries, 10, "the savings of a new model, whoever asks for them");
}

#[derive(Debug, Clone)]
enum Happening {
    Pass(u64),
    Begin,
    Answer,
    Fail(Kind),
    Leave,
}

fn happening() -> impl Strategy<Value = Happening> {
    let kinds = [Kind::ServerError, Kind::Overloaded, Kind::Connect, Kind::Silence, Kind::RateLimited];
    prop_oneof![
        (1_u64..20_000).prop_map(Happening::Pass),
        Just(Happening::Begin),
        Just(Happening::Begin),
        Just(Happening::Answer),
        proptest::sample::select(kinds.to_vec()).prop_map(Happening::Fail),
        proptest::sample::select(kinds.to_vec()).prop_map(Happening::Fail),
        Just(Happening::Leave),
    ]
}

proptest! {
    /// Attempts begin, end and are left in any order.
    #[test]
    fn an_open_circuit_is_never_asked_and_nothing_in_flight_is_forgotten(
        happenings in proptest::collection::vec(happening(), 1..200)
    ) {
        let mut now = Instant::now();
        let health = Health::new(1, POLICY, now);
        let mut turns = std::collections::VecDeque::new();
        for happening in happenings {
            match happening {
                Happening::Pass(millis) => now += Duration::from_millis(millis),
                Happening::Begin => {
                    let before = health.state(0, now);
                    let turn = begin(&health, now);
                    prop_assert_eq!(turn.is_some(), before.block(now).is_none());
                    if before.circuits().is_tripped() && turn.is_some() {
                        prop_assert!(begin(&health, now).is_none(), "one probe at a time");
                    }
                    turns.extend(turn);
                }
                Happening::Answer => turns.pop_front().into_iter().for_each(Turn::answered),
                Happening::Fail(kind) => {
                    turns.pop_front().into_iter().for_each(|turn: Turn<'_>| turn.failed(&failure(kind), now));
                }
                Happening::Leave => drop(turns.pop_back()),
            }
            prop_assert_eq!(usize::try_from(health.state(0, now).in_flight()).ok(), Some(turns.len()));
        }
        turns.clear();
        prop_assert_eq!(health.state(0, now).in_flight(), 0);
    }
}
