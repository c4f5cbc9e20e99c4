//! How long an attempt may take, and what to do after a failed one. Pure: the clock, the dice and the budget
//! are arguments.

use std::time::Duration;

use crate::budget::Paid;
use crate::failure::{Course, Failure};

/// The least that an attempt gets while the caller has it: with less no model answers, and the whole chain
/// would be asked in vain.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);
/// Silence of this length tells of the model and not of a caller in a hurry: half of what the first of three
/// models gets of the edge's default deadline of 30 s.
const TELLING_SILENCE: Duration = Duration::from_secs(5);

/// The waits that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bound of the first wait; it doubles with every retry.
    pub base: Duration,
    /// Bound of any wait of our own.
    pub cap: Duration,
    /// A server that wants a longer wait loses the request to the next model.
    pub patience: Duration,
}

/// Where a request stands with one model.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Why the last attempt failed.
    pub failure: &'a Failure,
    /// Attempts made with this model, this request's own, at least 1. Repairs do not count.
    pub attempts: u32,
    /// Attempts allowed.
    pub attempts_max: u32,
    /// Where the answer was not what was asked for and the model can be told why: how often it was told before, and how
    /// often it may be.
    pub repairs: Option<Repairs>,
    /// Time left for the caller.
    pub remaining: Duration,
    /// In [0, 1).
    pub random: f64,
}

/// Repairs of one request by one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repairs {
    /// Made.
    pub made: u32,
    /// Allowed.
    pub max: u32,
}

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The same model, after this wait, with a retry that is paid for already: others decide meanwhile.
    RetryAfter(Duration, Paid),
    /// The same model, now, with what was wrong with its answer.
    Repair,
    /// The next model, now.
    NextModel,
    /// Nothing more can be done.
    GiveUp(GiveUp),
}

/// Why nothing more can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// No model would take the request.
    Rejected,
    /// The caller's time is over.
    Deadline,
}

/// The time of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// It is cut short after this.
    pub timeout: Duration,
    /// Whether silence for all of it counts as the model's ill health.
    pub is_telling: bool,
}

/// Shares what is left of the caller's time among the models that could still be asked, this one included,
/// so that one that hangs leaves time for the next.
#[must_use]
pub fn slot(request_timeout: Duration, remaining: Duration, models_left: usize) -> Slot {
    let models_left = u32::try_from(models_left).unwrap_or(u32::MAX).max(1);
    let share = (remaining / models_left).max(ATTEMPT_MIN).min(remaining);
    let timeout = request_timeout.min(share);
    Slot { timeout, is_telling: timeout >= request_timeout.min(TELLING_SILENCE) }
}

impl Policy {
    /// The next step after a failure. `pay` takes a retry out of the model's budget; it is asked only when
    /// nothing else stands against one.
    #[must_use]
    pub fn next(&self, situation: &Situation<'_>, pay: impl FnOnce() -> Option<Paid>) -> Next {
        let retries_max = match situation.failure.kind.course() {
            Course::EndRequest => return Next::GiveUp(GiveUp::Rejected),
            _ if situation.remaining.is_zero() => return Next::GiveUp(GiveUp::Deadline),
            Course::NextModel | Course::MarkAndNext => return Next::NextModel,
            // Nothing failed that a wait would mend, and no retry is taken from those who meet an outage.
            Course::Retry { .. } if let Some(repairs) = situation.repairs => {
                return if repairs.made < repairs.max { Next::Repair } else { Next::NextModel };
            }
            Course::Retry { retries_max } => retries_max.unwrap_or(u32::MAX),
        };
        let retries = situation.attempts.saturating_sub(1);
        if retries >= retries_max || situation.attempts >= situation.attempts_max {
            return Next::NextModel;
        }
        let wait = self.wait(situation.failure.server_delay, retries, situation.random);
        let patient = situation.failure.server_delay.is_none_or(|delay| delay <= self.patience);
        if !patient || wait >= situation.remaining {
            return Next::NextModel;
        }
        pay().map_or(Next::NextModel, |paid| Next::RetryAfter(wait, paid))
    }

    /// Full jitter (Brooker, "Exponential Backoff And Jitter") under a doubling bound. A server's delay is a
    /// floor; the jitter on top keeps those who were told the same time from coming at once.
    fn wait(&self, server_delay: Option<Duration>, retries: u32, random: f64) -> Duration {
        let random = random.clamp(0.0, 1.0);
        match server_delay {
            Some(delay) => delay.saturating_add(self.base.mul_f64(random)),
            None => self.base.saturating_mul(1_u32 << retries.min(20)).min(self.cap).mul_f64(random),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budget;
    use crate::failure::Kind;

    const POLICY: Policy = Policy {
        base: Duration::from_millis(200),
        cap: Duration::from_secs(5),
        patience: Duration::from_secs(10),
    };

    fn failure(kind: Kind, delay_ms: Option<u64>) -> Failure {
        let server_delay = delay_ms.map(Duration::from_millis);
        Failure { server_delay, ..Failure::without_response(kind, "") }
    }

    fn situation(failure: &Failure) -> Situation<'_> {
        Situation {
            failure,
            attempts: 1,
            attempts_max: 3,
            repairs: None,
            remaining: Duration::from_secs(60),
            random: 0.5,
        }
    }

    fn paid() -> Option<Paid> {
        let now = Instant::now();
        Budget::new(now).try_withdraw(now)
    }

    fn next(situation: &Situation<'_>) -> Next {
        POLICY.next(situation, paid)
    }

    fn retry(millis: u64) -> Next {
        Next::RetryAfter(Duration::from_millis(millis), paid().expect("a new budget"))
    }

    #[test]
    fn a_model_gets_its_share_of_the_callers_time() {
        let cases = [
            // The shipped defaults: 120 s an attempt, 30 s a call, a chain of three that all hang.
            (120_000, 30_000, 3, 10_000, true),
            (120_000, 20_000, 2, 10_000, true),
            (120_000, 10_000, 1, 10_000, true),
            (120_000, 600_000, 2, 120_000, true),
            // A short limit of its own is all that the model was promised.
            (300, 30_000, 3, 300, true),
            (300, 200, 1, 200, false),
            // A caller in a hurry: never less than the least, nor more than there is.
            (120_000, 14_997, 3, 4_999, false),
            (120_000, 2_000, 3, 1_000, false),
            (120_000, 600, 3, 600, false),
            (120_000, 0, 3, 0, false),
            (120_000, 6_000, 0, 6_000, true),
        ];
        for (request, remaining, models_left, timeout, is_telling) in cases {
            let millis = Duration::from_millis;
            let expected = Slot { timeout: millis(timeout), is_telling };
            let given = slot(millis(request), millis(remaining), models_left);
            assert_eq!(given, expected, "{request} {remaining} {models_left}");
        }
    }

    #[test]
    fn own_waits_double_up_to_the_cap_with_full_jitter() {
        let failure = failure(Kind::ServerError, None);
        for (attempts, random, millis) in
            [(1, 0.5, 100), (2, 0.5, 200), (3, 0.5, 400), (30, 0.5, 2_500), (2, 0.0, 0)]
        {
            let at = Situation { attempts, attempts_max: 99, random, ..situation(&failure) };
            assert_eq!(next(&at), retry(millis), "attempt {attempts}");
        }
    }

    #[test]
    fn a_wrong_answer_is_asked_for_again_as_often_as_the_request_allows_and_for_free() {
        let unfit = failure(Kind::Unfit, None);
        for (made, max, expected) in
            [(0, 2, Next::Repair), (1, 2, Next::Repair), (2, 2, Next::NextModel), (0, 0, Next::NextModel)]
        {
            let at = Situation { repairs: Some(Repairs { made, max }), attempts: 3, ..situation(&unfit) };
            assert_eq!(POLICY.next(&at, || panic!("no retry is paid for")), expected, "{made} of {max}");
        }
        let late = Situation {
            repairs: Some(Repairs { made: 0, max: 2 }),
            remaining: Duration::ZERO,
            ..situation(&unfit)
        };
        assert_eq!(next(&late), Next::GiveUp(GiveUp::Deadline));
    }

    #[test]
    fn a_servers_delay_is_a_floor_and_wins() {
        for (random, millis) in [(0.0, 2_000), (0.5, 2_100)] {
            let failure = failure(Kind::RateLimited, Some(2_000));
            assert_eq!(next(&Situation { random, ..situation(&failure) }), retry(millis));
        }
        let at_once = failure(Kind::RateLimited, Some(0));
        assert_eq!(next(&Situation { random: 0.0, ..situation(&at_once) }), retry(0));
    }

    #[test]
    fn a_delay_beyond_patience_or_deadline_moves_on_at_once() {
        let patient = failure(Kind::RateLimited, Some(10_000));
        assert_eq!(next(&Situation { random: 0.0, ..situation(&patient) }), retry(10_000));
        let impatient = failure(Kind::RateLimited, Some(10_001));
        assert_eq!(next(&situation(&impatient)), Next::NextModel);
        let late = failure(Kind::RateLimited, Some(3_000));
        let remaining = Duration::from_secs(3);
        assert_eq!(next(&Situation { remaining, ..situation(&late) }), Next::NextModel);
        let remaining = Duration::from_millis(50);
        let own = failure(Kind::ServerError, None);
        assert_eq!(next(&Situation { remaining, ..situation(&own) }), Next::NextModel);
    }

    #[test]
    fn attempts_and_budget_bound_the_retries() {
        let failure = failure(Kind::ServerError, None);
        assert_eq!(next(&Situation { attempts: 2, ..situation(&failure) }), retry(200));
        assert_eq!(next(&Situation { attempts: 3, ..situation(&failure) }), Next::NextModel);
        assert_eq!(POLICY.next(&situation(&failure), || None), Next::NextModel);
    }

    #[test]
    fn nothing_is_paid_for_a_retry_that_is_not_made() {
        let cases =
            [(Kind::ServerError, None, 3), (Kind::RateLimited, Some(10_001), 1), (Kind::Quota, None, 1)];
        for (kind, delay_ms, attempts) in cases {
            let failure = failure(kind, delay_ms);
            let at = Situation { attempts, ..situation(&failure) };
            assert_eq!(POLICY.next(&at, || panic!("paid for {at:?}")), Next::NextModel);
        }
    }

    #[test]
    fn every_kind_takes_its_course() {
        let cases = [
            (Kind::InvalidRequest, 1, Next::GiveUp(GiveUp::Rejected)),
            (Kind::ContextLength, 1, Next::NextModel),
            (Kind::Unauthenticated, 1, Next::NextModel),
            (Kind::ModelNotFound, 1, Next::NextModel),
            (Kind::Silence, 1, Next::NextModel),
            (Kind::Malformed, 1, retry(100)),
            (Kind::Malformed, 2, Next::NextModel),
            (Kind::Connect, 2, retry(200)),
        ];
        for (kind, attempts, expected) in cases {
            let failure = failure(kind, None);
            assert_eq!(next(&Situation { attempts, ..situation(&failure) }), expected, "{kind:?}");
        }
    }

    #[test]
    fn when_the_callers_time_is_over_nothing_more_is_tried() {
        for kind in [Kind::ServerError, Kind::Silence, Kind::Unauthenticated] {
            let failure = failure(kind, None);
            let over = Situation { remaining: Duration::ZERO, ..situation(&failure) };
            assert_eq!(next(&over), Next::GiveUp(GiveUp::Deadline));
        }
        let failure = failure(Kind::InvalidRequest, None);
        let over = Situation { remaining: Duration::ZERO, ..situation(&failure) };
        assert_eq!(next(&over), Next::GiveUp(GiveUp::Rejected));
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        use Kind as K;
        let kinds = [
            K::RateLimited,
            K::Overloaded,
            K::ServerError,
            K::ServerTimeout,
            K::Silence,
            K::Connect,
            K::Reset,
            K::Malformed,
            K::Unfit,
            K::Refusal,
            K::Unauthenticated,
            K::Quota,
            K::Forbidden,
            K::ModelNotFound,
            K::InvalidRequest,
            K::ContextLength,
        ];
        proptest::sample::select(kinds.as_slice().to_vec())
    }

    proptest! {
        /// Whatever failed, and however hostile the delay that the server asks for.
        #[test]
        fn no_retry_comes_too_early_too_late_too_often_or_unpaid(
            kind in any_kind(),
            delay_ms in proptest::option::of(0_u64..u64::MAX / 2_000_000),
            attempts in 1_u32..20,
            attempts_max in 1_u32..10,
            remaining_ms in 0_u64..200_000,
            random in -1.0_f64..2.0,
            can_pay: bool,
        ) {
            let failure = failure(kind, delay_ms);
            let remaining = Duration::from_millis(remaining_ms);
            let at = Situation { failure: &failure, attempts, attempts_max, repairs: None, remaining, random };
            let mut paid_for = 0;
            let next = POLICY.next(&at, || {
                paid_for += 1;
                if can_pay { paid() } else { None }
            });
            prop_assert!(paid_for <= 1);
            match next {
                Next::RetryAfter(wait, _) => {
                    prop_assert!(matches!(kind.course(), Course::Retry { .. }), "{kind:?} is tried again");
                    prop_assert!(can_pay && paid_for == 1, "nobody paid");
                    prop_assert!(wait < remaining, "{wait:?} is past the deadline, {remaining:?} away");
                    prop_assert!(wait >= failure.server_delay.unwrap_or_default(), "before the server's time");
                    prop_assert!(failure.server_delay.is_none_or(|delay| delay <= POLICY.patience));
                    prop_assert!(attempts < attempts_max, "{attempts} of {attempts_max}");
                }
                Next::GiveUp(GiveUp::Rejected) => prop_assert_eq!(kind.course(), Course::EndRequest),
                Next::GiveUp(GiveUp::Deadline) => prop_assert!(remaining.is_zero()),
                Next::NextModel => {}
                Next::Repair => prop_assert!(false, "there was nothing to repair"),
            }
        }
    }
}
