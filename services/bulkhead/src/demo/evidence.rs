//! What was measured. Nothing in here is what a service said of itself where the world could be asked.

/// Which model saw a text, according to the simulator's record of requests.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenBy {
    pub(super) primary: usize,
    pub(super) fallback: usize,
    pub(super) local: usize,
}

/// Which file it is and when it last changed: inode, seconds, nanoseconds.
pub(super) type Stamp = (u64, i64, i64);

/// Everything the claims rest on. Hashes are SHA-256 in hex, of the file as it lay on disk; empty: no file.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// What the 429 asked for.
    pub(super) delay_told_seconds: f64,
    /// Between the primary's answer and the next request to it, by the simulator's clock.
    pub(super) delay_waited_seconds: Option<f64>,
    /// Which model answered while the primary was down.
    pub(super) down_answered_by: String,
    /// Attempts in the router's answer.
    pub(super) down_attempts_reported: usize,
    /// Requests that the simulator received meanwhile.
    pub(super) down_attempts_seen: usize,
    /// Requests that held the planted secret.
    pub(super) secret_seen: SeenBy,
    pub(super) tree_before_dry_run: String,
    pub(super) tree_after_dry_run: String,
    pub(super) dry_run_effects: usize,
    pub(super) summary_planned_sha256: String,
    pub(super) summary_found_sha256: String,
    /// gRPC code and reason of the call made while the journal was locked.
    pub(super) locked_answer: String,
    pub(super) locked_file_appeared: bool,
    pub(super) unlocked_file_appeared: bool,
    pub(super) delete_state_before_decision: String,
    pub(super) deleted_sha256_before: String,
    pub(super) deleted_sha256_while_waiting: String,
    /// gRPC code and reason of the vote by the agent's owner.
    pub(super) owner_vote: String,
    /// The file after that vote and before the person's.
    pub(super) deleted_sha256_after_owner_vote: String,
    pub(super) pid_before_kill: u32,
    pub(super) pid_after_kill: u32,
    pub(super) delete_state_after_kill: String,
    pub(super) person_approved: bool,
    pub(super) delete_state_final: String,
    pub(super) deleted_sha256_after: String,
    pub(super) delete_intents: usize,
    pub(super) delete_outcomes: usize,
    pub(super) replay_first_id: String,
    pub(super) replay_second_id: String,
    /// Intents on record for that execution.
    pub(super) replay_intents: usize,
    /// Inode and time of change of the written file, before and after the repetition.
    pub(super) replay_stamp_before: Option<Stamp>,
    pub(super) replay_stamp_after: Option<Stamp>,
    pub(super) deleted_sha256_undone: String,
    pub(super) log_lines: u64,
    pub(super) log_findings: usize,
    pub(super) checkpoint_size: u64,
    pub(super) trace_id: String,
    pub(super) trace_events: usize,
    /// Services that recorded events in the trace, sorted.
    pub(super) trace_sources: Vec<String>,
}

impl Evidence {
    /// Whether the agent has set out, so that there is anything to measure.
    pub(super) fn begun(&self) -> bool {
        !self.trace_id.is_empty()
    }
}
