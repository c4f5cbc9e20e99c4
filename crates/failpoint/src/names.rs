//! Every failpoint there is. A test compares this with the code.

/// A place in the code where a test build can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failpoint {
    /// As `BULKHEAD_FAILPOINTS` names it.
    pub name: &'static str,
    /// What happens there.
    pub what: &'static str,
}

const fn at(name: &'static str, what: &'static str) -> Failpoint {
    Failpoint { name, what }
}

/// Places where a process ends on the spot.
pub const CRASHES: &[Failpoint] = &[
    at("fs.prepared", "a change of a file is prepared and not published"),
    at("fs.published", "a change is published and not acted on"),
    at("fs.exchanged", "a file was exchanged and the old content not checked"),
    at("fs.taken", "a moved file has left its old name"),
    at("fs.checked", "a moved file was checked and goes on to its new name"),
    at("fs.laid", "a moved file is ready for its new name"),
    at("fs.delivered", "a moved file has its new name"),
    at("fs.withdrawn", "a moved file is on its way back"),
    at("fs.unchecked", "a moved file on its way back is no longer marked as checked"),
    at("fs.given_back", "a moved file is back"),
    at("fs.settled", "a change of a file is over and not answered"),
];

/// Promises that a process breaks from then on.
pub const FAULTS: &[Failpoint] = &[
    at("router.skip_delay", "a model is asked again without the delay that it asked for"),
    at("router.skip_clearance", "a request that is local-only goes to a cloud model"),
    at("executor.skip_permit", "what people should be asked about runs without being asked about"),
    at("executor.effect_before_intent", "a tool acts before its intent is durable"),
    at("executor.skip_undo", "an undo says that it was done and does nothing"),
];
