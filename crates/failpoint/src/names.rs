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
    at("executor.after_intent", "an intent is durable and its tool has not begun"),
    at("executor.after_effect", "a tool has acted and its outcome is not recorded"),
    at("executor.after_outcome", "an outcome is durable and not answered"),
    at("approval.asked", "a question is durable and not answered"),
    at("approval.decided", "a vote, and its grant with it, is durable and not answered"),
    at("outbox.delivered", "the audit service has confirmed events that still stand in the outbox"),
    at("audit.staged", "events were taken and nothing of them is written"),
    at("audit.written", "lines are on disk and not in the index"),
    at("audit.indexed", "lines are on disk and in the index, and not answered"),
];

/// Promises that a process breaks from then on.
pub const FAULTS: &[Failpoint] = &[
    at("router.skip_delay", "a model is asked again without the delay that it asked for"),
    at("router.skip_clearance", "a request that is local-only goes to a cloud model"),
    at("executor.skip_permit", "what people should be asked about runs without being asked about"),
    at("executor.effect_before_intent", "a tool acts before its intent is durable"),
    at("executor.skip_undo", "an undo says that it was done and does nothing"),
    at("executor.grant_reused", "a grant is not used up by the effect that rests on it"),
    at("executor.grant_never_expires", "a grant that has run out still opens the door"),
    at("outbox.before_commit", "events leave the outbox before the audit service has confirmed them"),
    at("audit.ack_before_write", "the audit service confirms events before it writes them"),
];
