//! The table "When a compartment floods", as data: what goes on and what stops while one thing is out, and with which
//! answer. Pure.

use serde::Serialize;

use super::fault::{Fault, Wire};
use crate::serve::Service;

/// Something that somebody wants of a Bulkhead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Want {
    /// A file is created: it can be taken back and needs nobody.
    Reversible,
    /// A file is changed where no copy is kept.
    Irreversible,
    /// A file is to be deleted: a person has to be asked.
    Gated,
    /// A model is asked.
    Model,
    /// A person looks at what waits.
    People,
}

impl Want {
    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Reversible, Self::Irreversible, Self::Gated, Self::Model, Self::People];

    /// For a person.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reversible => "a reversible call",
            Self::Irreversible => "an irreversible call",
            Self::Gated => "a gated call",
            Self::Model => "a model call",
            Self::People => "a person's look",
        }
    }

    /// The answer while all is well.
    pub(super) fn answer(self) -> &'static str {
        match self {
            Self::Reversible | Self::Irreversible => "SUCCEEDED",
            Self::Gated => "AWAITING_APPROVAL",
            Self::Model | Self::People => "OK",
        }
    }

    /// The service that is asked.
    pub(super) fn asked(self) -> Service {
        match self {
            Self::Reversible | Self::Irreversible | Self::Gated => Service::ToolExecutor,
            Self::Model => Service::ModelRouter,
            Self::People => Service::Approval,
        }
    }
}

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expectation {
    /// As if nothing were out.
    GoesOn,
    /// Nothing is done, and one of these is the answer.
    Stops(&'static [&'static str]),
    /// Nothing is promised: a disk that is full may have room in what was taken earlier.
    Either,
}

/// Nobody is there, or nobody answers. The first two are this side's own words for it.
const AWAY: &[&str] = &[
    "UNAVAILABLE PEER_UNREACHABLE",
    "UNAVAILABLE PEER_CONNECTION_LOST",
    "DEADLINE_EXCEEDED DEADLINE_EXCEEDED",
];
const NOBODY_TO_ASK: &[&str] = &["UNAVAILABLE APPROVAL_UNAVAILABLE"];
const NOBODY_TO_TELL: &[&str] = &["FAILED AUDIT_UNAVAILABLE"];

/// What must come of a wish while a fault is in force; nothing is said of a process that dies at a point of its own.
pub(super) fn expected(fault: Fault, want: Want) -> Option<Expectation> {
    use Expectation::{Either, GoesOn};
    match fault {
        Fault::Kill(service) | Fault::Pause(service) => Some(while_out(service, want)),
        Fault::Cut(Wire { from, to }, _) => Some(while_apart(from, to, want)),
        Fault::FillDisk(service) if touches(service, want) => Some(Either),
        Fault::Model(_) | Fault::FillDisk(_) | Fault::StepClock(..) => Some(GoesOn),
        Fault::Crash(..) => None,
    }
}

fn while_out(service: Service, want: Want) -> Expectation {
    if want.asked() == service {
        return Expectation::Stops(AWAY);
    }
    while_apart(want.asked(), service, want)
}

fn while_apart(from: Service, to: Service, want: Want) -> Expectation {
    match (from, to, want) {
        (Service::ToolExecutor, Service::Approval, Want::Gated) => Expectation::Stops(NOBODY_TO_ASK),
        (Service::ToolExecutor, Service::Audit, Want::Irreversible) => Expectation::Stops(NOBODY_TO_TELL),
        _ => Expectation::GoesOn,
    }
}

/// Whether it writes to a service's store.
fn touches(service: Service, want: Want) -> bool {
    match want {
        Want::Reversible => service == Service::ToolExecutor,
        Want::Irreversible => matches!(service, Service::ToolExecutor | Service::Audit),
        Want::Gated => matches!(service, Service::ToolExecutor | Service::Approval),
        Want::Model => service == Service::ModelRouter,
        // Reading needs no room.
        Want::People => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::fault::{Cut, ModelOutage};

    /// The wants that stop, of those in [`Want::ALL`].
    fn stopped(fault: Fault) -> Vec<Want> {
        let stops = |want: &Want| matches!(expected(fault, *want), Some(Expectation::Stops(_)));
        Want::ALL.into_iter().filter(stops).collect()
    }

    #[test]
    fn each_compartment_stops_its_own_and_no_more() {
        use Want::{Gated, Irreversible, Model, People, Reversible};
        let table = [
            (Service::Audit, vec![Irreversible]),
            (Service::Approval, vec![Gated, People]),
            (Service::ModelRouter, vec![Model]),
            (Service::ToolExecutor, vec![Reversible, Irreversible, Gated]),
        ];
        for (service, stops) in table {
            assert_eq!(stopped(Fault::Kill(service)), stops, "{service:?}");
            assert_eq!(stopped(Fault::Pause(service)), stops, "{service:?}");
        }
    }

    #[test]
    fn a_cut_stops_what_needs_the_wire() {
        let stops = Wire::ALL.map(|wire| stopped(Fault::Cut(wire, Cut::Silent)));
        assert_eq!(stops, [vec![Want::Gated], vec![Want::Irreversible], vec![], vec![]]);
    }

    #[test]
    fn one_model_of_a_chain_stops_nothing() {
        assert_eq!(stopped(Fault::Model(ModelOutage::Silent)), []);
    }

    #[test]
    fn a_full_disk_is_nobody_elses_trouble() {
        for want in Want::ALL {
            let promised = expected(Fault::FillDisk(Service::ModelRouter), want);
            let own = if want == Want::Model { Expectation::Either } else { Expectation::GoesOn };
            assert_eq!(promised, Some(own), "{want:?}");
        }
    }
}
