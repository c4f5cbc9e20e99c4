use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// What happened in a table: `a` and `b` are shares, numbers are the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Admitted,
    Waits(u64),
    WaitsInsteadOf(u64, u64),
    Refused,
}

fn arrive(fair: &mut Fair, share: &str) -> Told {
    match fair.arrive(&share.into()) {
        Verdict::Admit => Told::Admitted,
        Verdict::Queue { ticket, instead_of: None } => Told::Waits(ticket.0),
        Verdict::Queue { ticket, instead_of: Some(out) } => Told::WaitsInsteadOf(ticket.0, out.0),
        Verdict::Shed => Told::Refused,
    }
}

fn check(bounds: Bounds, arrivals: &[(&str, Told)]) -> Fair {
    let mut fair = Fair::new(bounds);
    for (at, (share, expected)) in arrivals.iter().enumerate() {
        assert_eq!(&arrive(&mut fair, share), expected, "call {at}, of {share}");
    }
    fair
}

use Told::{Admitted, Refused, Waits, WaitsInsteadOf};

#[test]
fn one_alone_may_use_every_place_and_the_queue() {
    check(Bounds::queueing(2, 1), &[("a", Admitted), ("a", Admitted), ("a", Waits(0)), ("a", Refused)]);
}

#[test]
fn a_newcomer_is_next_whoever_waited_before() {
    let mut fair = check(
        Bounds::queueing(2, 3),
        &[("a", Admitted), ("a", Admitted), ("a", Waits(0)), ("a", Waits(1)), ("b", Waits(2))],
    );
    assert_eq!(fair.leave("a"), Some((Ticket(2), "b".into())));
    // Now each holds one, and the longer wait decides.
    assert_eq!(fair.leave("b"), Some((Ticket(0), "a".into())));
}

#[test]
fn a_full_queue_puts_out_the_newest_call_of_who_claims_most() {
    let fair = check(
        Bounds::queueing(1, 2),
        &[("a", Admitted), ("a", Waits(0)), ("a", Waits(1)), ("b", WaitsInsteadOf(2, 1)), ("b", Refused)],
    );
    assert!(fair.is_over_its_part("a") && !fair.is_over_its_part("b"));
}

#[test]
fn nobody_is_put_out_by_an_equal() {
    check(
        Bounds::queueing(2, 2),
        &[("a", Admitted), ("b", Admitted), ("a", Waits(0)), ("b", Waits(1)), ("a", Refused), ("b", Refused)],
    );
}

#[test]
fn where_room_is_left_one_gets_half_and_a_newcomer_still_finds_a_place() {
    let fair = check(
        Bounds::leaving_room(4),
        &[("a", Admitted), ("a", Admitted), ("a", Refused), ("b", Admitted), ("b", Refused), ("c", Admitted)],
    );
    assert!(!fair.is_over_its_part("c"), "now nothing is free, and each is refused for the service's sake");
}

#[test]
fn what_no_longer_waits_is_not_admitted() {
    let mut fair = check(Bounds::queueing(1, 2), &[("a", Admitted), ("b", Waits(0)), ("c", Waits(1))]);
    assert!(fair.give_up("b", Ticket(0)));
    assert!(!fair.give_up("b", Ticket(0)));
    assert_eq!(fair.leave("a"), Some((Ticket(1), "c".into())));
    assert!(!fair.give_up("c", Ticket(1)));
    assert_eq!(fair.leave("c"), None);
    assert_eq!((fair.free, fair.shares.len()), (1, 0), "nobody is remembered");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Arrive(usize),
    Leave(usize),
    GiveUp(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4_usize).prop_map(Step::Arrive),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::GiveUp),
    ];
    prop::collection::vec(step, 0..200)
}

/// What callers know: who runs, and who waits.
#[derive(Default)]
struct Callers {
    running: Vec<Arc<str>>,
    waiting: Vec<(Ticket, Arc<str>)>,
}

impl Callers {
    fn held(&self, share: &str) -> usize {
        self.running.iter().filter(|running| running.as_ref() == share).count()
    }

    fn forget(&mut self, ticket: Ticket) -> Arc<str> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == ticket).expect("it waited");
        self.waiting.remove(at).1
    }
}

fn play(fair: &mut Fair, callers: &mut Callers, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Arrive(share) => {
            let share: Arc<str> = ["a", "b", "c", "d"][share].into();
            match fair.arrive(&share) {
                Verdict::Admit => callers.running.push(share),
                Verdict::Queue { ticket, instead_of } => {
                    if let Some(out) = instead_of {
                        prop_assert_ne!(callers.forget(out), Arc::clone(&share), "its own call was put out");
                    }
                    callers.waiting.push((ticket, share));
                }
                Verdict::Shed => {}
            }
        }
        Step::Leave(at) if !callers.running.is_empty() => {
            let left = callers.running.swap_remove(at % callers.running.len());
            let fewest = callers.waiting.iter().map(|(_, share)| callers.held(share)).min();
            let admitted = fair.leave(&left);
            prop_assert_eq!(admitted.is_some(), fewest.is_some(), "a free place and a waiting call");
            if let Some((ticket, share)) = admitted {
                prop_assert_eq!(Some(callers.held(&share)), fewest, "another share holds fewer");
                prop_assert_eq!(callers.forget(ticket), Arc::clone(&share));
                callers.running.push(share);
            }
        }
        Step::GiveUp(at) if !callers.waiting.is_empty() => {
            let (ticket, share) = callers.waiting.swap_remove(at % callers.waiting.len());
            prop_assert!(fair.give_up(&share, ticket));
        }
        Step::Leave(_) | Step::GiveUp(_) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn places_are_neither_lost_nor_made_and_the_poorest_is_next(
        places in 1..6_usize, queue in 0..6_usize, steps in steps(),
    ) {
        let mut fair = Fair::new(Bounds::queueing(places, queue));
        let mut callers = Callers::default();
        for step in steps {
            play(&mut fair, &mut callers, step)?;
            prop_assert_eq!(fair.free + callers.running.len(), places);
            prop_assert!(callers.waiting.len() <= queue && fair.waiting == callers.waiting.len());
            prop_assert!(callers.waiting.is_empty() || fair.free == 0, "somebody waits beside a free place");
            let named: HashSet<_> =
                callers.running.iter().chain(callers.waiting.iter().map(|(_, share)| share)).collect();
            prop_assert_eq!(fair.shares.len(), named.len(), "only who holds or wants something is remembered");
        }
    }

    #[test]
    fn where_room_is_left_no_share_can_take_it(steps in steps()) {
        let mut fair = Fair::new(Bounds::leaving_room(8));
        let mut held: HashMap<Arc<str>, usize> = HashMap::new();
        for step in steps {
            let Step::Arrive(share) = step else { continue };
            let share: Arc<str> = ["a", "b", "c"][share % 3].into();
            if fair.arrive(&share) == Verdict::Admit {
                *held.entry(share).or_default() += 1;
            }
            // One can have come to half; three leave one place of eight.
            prop_assert!(held.values().all(|held| *held <= 4));
        }
        prop_assert_eq!(fair.arrive(&"newcomer".into()), Verdict::Admit);
    }
}
