//! Circuits of one model: one for each class of failure that is the model's own. Pure; the time is an argument.
//!
//! A class that failed too often in a row rests, and longer each time that a probe fails again. Failures of another class
//! neither add to it nor end it; an answer ends them all.

use std::time::{Duration, Instant};

/// Sorts of ill health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// It cannot be connected to.
    Unreachable,
    /// It fails, breaks off, or answers what is no answer.
    Failing,
    /// It says that it has too much to do.
    Overloaded,
    /// It says nothing.
    Silent,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Unreachable, Self::Failing, Self::Overloaded, Self::Silent];

    /// The stable word of the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "UNREACHABLE",
            Self::Failing => "FAILING",
            Self::Overloaded => "OVERLOADED",
            Self::Silent => "SILENT",
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Unreachable => 0,
            Self::Failing => 1,
            Self::Overloaded => 2,
            Self::Silent => 3,
        }
    }
}

/// When a circuit opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitPolicy {
    /// Failures of a class in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time; twice as long after each probe that fails.
    pub open: Duration,
    /// Up to this.
    pub open_max: Duration,
}

/// The circuits of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Circuits([Circuit; FailureClass::ALL.len()]);

/// The circuit of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Circuit {
    /// In a row.
    pub failures: u32,
    /// Set from its opening to the next answer; in force until then.
    pub open_until: Option<Instant>,
    /// How often it opened since the last answer.
    times_opened: u32,
}

impl Circuits {
    /// The circuit of a class.
    #[must_use]
    pub fn of(&self, class: FailureClass) -> Circuit {
        self.0.get(class.place()).copied().unwrap_or_default()
    }

    /// An attempt failed in this way.
    pub fn failed(&mut self, class: FailureClass, now: Instant, policy: &CircuitPolicy) {
        if self.open(now).is_none() {
            // A probe failed, in whatever way: what rested has to rest on.
            for circuit in self.0.iter_mut().filter(|circuit| circuit.open_until.is_some()) {
                circuit.rest(now, policy);
            }
        }
        if let Some(circuit) = self.0.get_mut(class.place()) {
            circuit.failed(now, policy);
        }
    }

    /// An attempt was answered.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// The class that rests longest, and until when; none when all may be tried.
    #[must_use]
    pub fn open(&self, now: Instant) -> Option<(FailureClass, Instant)> {
        let open =
            FailureClass::ALL.into_iter().filter_map(|class| Some((class, self.of(class).open_until?)));
        open.filter(|(_, until)| now < *until).max_by_key(|(_, until)| *until)
    }

    /// Whether one opened since the last answer: the next attempt is a probe.
    #[must_use]
    pub fn is_tripped(&self) -> bool {
        self.0.iter().any(|circuit| circuit.open_until.is_some())
    }
}

impl Circuit {
    fn failed(&mut self, now: Instant, policy: &CircuitPolicy) {
        self.failures = self.failures.saturating_add(1);
        // Those who were under way when it opened tell nothing new.
        let is_open = self.open_until.is_some_and(|until| now < until);
        if self.failures < policy.failures || is_open {
            return;
        }
        self.rest(now, policy);
    }

    fn rest(&mut self, now: Instant, policy: &CircuitPolicy) {
        let doubled = policy.open.saturating_mul(1_u32 << self.times_opened.min(20));
        self.open_until = Some(now + doubled.min(policy.open_max));
        self.times_opened = self.times_opened.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CircuitPolicy =
        CircuitPolicy { failures: 3, open: Duration::from_secs(15), open_max: Duration::from_secs(40) };

    fn fail(circuits: &mut Circuits, class: FailureClass, times: u32, now: Instant) {
        (0..times).for_each(|_| circuits.failed(class, now, &POLICY));
    }

    #[test]
    fn each_class_counts_for_itself_and_an_answer_ends_them_all() {
        use FailureClass as C;
        let now = Instant::now();
        let mut circuits = Circuits::default();
        fail(&mut circuits, C::Failing, 2, now);
        fail(&mut circuits, C::Overloaded, 2, now);
        assert_eq!(circuits.open(now), None);
        fail(&mut circuits, C::Failing, 1, now);
        assert_eq!(circuits.open(now), Some((C::Failing, now + POLICY.open)));
        circuits.answered();
        assert_eq!((circuits.open(now), circuits.is_tripped()), (None, false));
        fail(&mut circuits, C::Overloaded, 2, now);
        assert_eq!(circuits.open(now), None, "what came before the answer is forgotten");
    }

    #[test]
    fn a_failed_probe_doubles_the_rest_up_to_a_bound() {
        let mut now = Instant::now();
        let mut circuits = Circuits::default();
        fail(&mut circuits, FailureClass::Silent, 3, now);
        for seconds in [15, 30, 40, 40] {
            let until = now + Duration::from_secs(seconds);
            assert_eq!(circuits.open(now), Some((FailureClass::Silent, until)));
            fail(&mut circuits, FailureClass::Silent, 1, now);
            assert_eq!(
                circuits.open(now).map(|(_, until)| until),
                Some(until),
                "stragglers do not prolong it"
            );
            now = until;
            assert!(circuits.is_tripped() && circuits.open(now).is_none(), "a probe may go");
            fail(&mut circuits, FailureClass::Silent, 1, now);
        }
    }

    #[test]
    fn a_probe_that_fails_in_another_way_is_a_failed_probe() {
        use FailureClass as C;
        let now = Instant::now();
        let mut circuits = Circuits::default();
        fail(&mut circuits, C::Unreachable, 3, now);
        let later = now + POLICY.open;
        fail(&mut circuits, C::Overloaded, 1, later);
        assert_eq!(circuits.open(later), Some((C::Unreachable, later + POLICY.open * 2)));
    }

    #[test]
    fn the_longest_rest_wins() {
        use FailureClass as C;
        let now = Instant::now();
        let mut circuits = Circuits::default();
        fail(&mut circuits, C::Failing, 3, now);
        let later = now + Duration::from_secs(5);
        fail(&mut circuits, C::Unreachable, 3, later);
        assert_eq!(circuits.open(later), Some((C::Unreachable, later + POLICY.open)));
    }
}
