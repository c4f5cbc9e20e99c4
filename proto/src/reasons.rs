//! Every reason that an error of Bulkhead can carry, with what it means for whoever gets it.
//!
//! Promises that a reason answers "did it happen?" in one way, whichever RPC and code it comes with. A test
//! compares these rows with the code, both ways, and `docs/contract/errors.md` is written from them.

mod approval;
mod audit;
mod edge;
mod router;
mod shared;
mod tools;

use tonic::Code;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// The `reason` of the `google.rpc.ErrorInfo`. Never changes its meaning.
    pub name: &'static str,
    /// The canonical codes that it comes with; nearly always one.
    pub codes: &'static [Code],
    /// Whether what was asked for took place.
    pub happened: Happened,
    /// Whether asking again can help.
    pub retry: Retry,
    /// What is the case. A clause without a capital and a full stop.
    pub meaning: &'static str,
    /// What to do about it, in the same form.
    pub advice: &'static str,
    /// Every key that the metadata of the `ErrorInfo` can hold.
    pub metadata: &'static [&'static str],
}

/// Whether what the call was for (an effect, a stored change, a model's answer) took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// Certainly not.
    No,
    /// Yes; only the answer is missing.
    Yes,
    /// The service cannot know; the same `request_id`, sent again, finds out.
    Unknown,
}

impl Happened {
    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will end the same way.
    No,
    /// The same request, `request_id` included, at once.
    Same,
    /// The same request after the delay of the `RetryInfo`.
    AfterWaiting,
    /// A corrected request, credential or state of things.
    AfterChange,
}

impl Retry {
    /// The words for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Same => "same request",
            Self::AfterWaiting => "same request, after waiting",
            Self::AfterChange => "after a change",
        }
    }
}

/// Who answers with a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// What every call passes through: any RPC may answer it, and none declares it.
    Edge,
    /// A service: an RPC that may answer it declares so in its option `errors`.
    Service,
}

/// Some rows, and who answers them.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// A heading for people.
    pub title: &'static str,
    /// Who.
    pub origin: Origin,
    /// What; by name.
    pub reasons: &'static [Reason],
}

/// Every row, in the order in which people should read them.
pub const SECTIONS: [Section; 6] = [
    Section { title: "Any RPC", origin: Origin::Edge, reasons: edge::REASONS },
    Section { title: "Several services", origin: Origin::Service, reasons: shared::REASONS },
    Section { title: "Model router", origin: Origin::Service, reasons: router::REASONS },
    Section { title: "Tool executor", origin: Origin::Service, reasons: tools::REASONS },
    Section { title: "Approval", origin: Origin::Service, reasons: approval::REASONS },
    Section { title: "Audit", origin: Origin::Service, reasons: audit::REASONS },
];

/// The row of a reason, and who answers it.
#[must_use]
pub fn find(name: &str) -> Option<(Origin, &'static Reason)> {
    let mut rows =
        SECTIONS.iter().flat_map(|section| section.reasons.iter().map(|row| (section.origin, row)));
    rows.find(|(_, row)| row.name == name)
}
