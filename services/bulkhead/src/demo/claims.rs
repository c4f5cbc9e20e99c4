//! What the demo claims, and what was measured. Pure: evidence in, rows out.

use serde::Serialize;

use super::evidence::Evidence;

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Claim {
    /// Stable, for programs.
    pub(super) id: &'static str,
    /// What is claimed.
    pub(super) claim: &'static str,
    /// What was measured, in words and figures.
    pub(super) measured: String,
    /// Whether the measurement bears the claim out.
    pub(super) holds: bool,
}

/// A wait may be this much longer than told before it counts as something else than the wait.
const WAIT_SLACK_SECONDS: f64 = 10.0;

/// Every claim, in the order in which the demo goes.
pub(super) fn claims(evidence: &Evidence) -> Vec<Claim> {
    vec![
        delay(evidence),
        fallback(evidence),
        sensitivity(evidence),
        dry_run(evidence),
        create(evidence),
        no_record_no_effect(evidence),
        waits_for_a_person(evidence),
        self_approval(evidence),
        killed(evidence),
        decided(evidence),
        once(evidence),
        undo(evidence),
        log(evidence),
        trace(evidence),
    ]
}

fn claim(id: &'static str, claim: &'static str, measured: String, holds: bool) -> Claim {
    Claim { id, claim, measured, holds }
}

fn delay(evidence: &Evidence) -> Claim {
    let told = evidence.delay_told_seconds;
    let (measured, holds) = match evidence.delay_waited_seconds {
        Some(waited) => {
            let holds = waited >= told && waited < told + WAIT_SLACK_SECONDS;
            (format!("told {told:.1} s, waited {waited:.2} s"), holds)
        }
        None => (format!("told {told:.1} s, no second request came"), false),
    };
    claim("retry_after", "A 429's Retry-After is honoured", measured, holds)
}

fn fallback(evidence: &Evidence) -> Claim {
    let Evidence { down_answered_by, down_attempts_reported, down_attempts_seen, .. } = evidence;
    let measured = format!(
        "answered by {down_answered_by}; {down_attempts_reported} attempts reported, {down_attempts_seen} seen by the models"
    );
    let holds = down_answered_by == "fallback"
        && *down_attempts_reported >= 2
        && down_attempts_reported == down_attempts_seen;
    claim("fallback", "A model that is down is passed over", measured, holds)
}

fn sensitivity(evidence: &Evidence) -> Claim {
    let seen = &evidence.secret_seen;
    let measured = format!(
        "prompts with the secret: primary {}, fallback {}, local {}",
        seen.primary, seen.fallback, seen.local
    );
    let holds = seen.primary == 0 && seen.fallback == 0 && seen.local > 0;
    claim("local_only", "A credential reaches the local model only", measured, holds)
}

fn dry_run(evidence: &Evidence) -> Claim {
    let same = evidence.tree_before_dry_run == evidence.tree_after_dry_run;
    let measured = format!(
        "folder hash {} → {}, {} planned effect(s)",
        short(&evidence.tree_before_dry_run),
        short(&evidence.tree_after_dry_run),
        evidence.dry_run_effects
    );
    claim("dry_run", "A dry run plans and writes nothing", measured, same && evidence.dry_run_effects == 1)
}

fn create(evidence: &Evidence) -> Claim {
    let (planned, found) = (&evidence.summary_planned_sha256, &evidence.summary_found_sha256);
    let measured = format!("planned {}, on disk {}", short(planned), short(found));
    claim(
        "as_planned",
        "What is written is what was planned",
        measured,
        !planned.is_empty() && planned == found,
    )
}

fn no_record_no_effect(evidence: &Evidence) -> Claim {
    let answer = &evidence.locked_answer;
    let there = if evidence.locked_file_appeared { "the file appeared" } else { "no file" };
    let later = if evidence.unlocked_file_appeared { "written after unlocking" } else { "never written" };
    let holds = answer.starts_with("UNAVAILABLE")
        && !evidence.locked_file_appeared
        && evidence.unlocked_file_appeared;
    let measured = format!("journal locked: {answer}, {there}; {later}");
    claim("record_first", "Without a durable record there is no effect", measured, holds)
}

fn waits_for_a_person(evidence: &Evidence) -> Claim {
    let (before, waiting) = (&evidence.deleted_sha256_before, &evidence.deleted_sha256_while_waiting);
    let measured = format!(
        "{}; file {} → {} before the decision",
        evidence.delete_state_before_decision,
        short(before),
        short(waiting)
    );
    let holds = evidence.delete_state_before_decision == "AWAITING_APPROVAL"
        && !before.is_empty()
        && before == waiting;
    claim("gated", "A delete waits for a person", measured, holds)
}

fn self_approval(evidence: &Evidence) -> Claim {
    let measured = format!("the owner's vote: {}", evidence.owner_vote);
    let holds = evidence.owner_vote == "PERMISSION_DENIED SELF_APPROVAL";
    claim("self_approval", "The agent's owner may not approve for it", measured, holds)
}

fn killed(evidence: &Evidence) -> Claim {
    let Evidence { pid_before_kill, pid_after_kill, delete_state_after_kill, .. } = evidence;
    let measured = format!("pid {pid_before_kill} → {pid_after_kill}, then {delete_state_after_kill}");
    let holds = pid_before_kill != pid_after_kill && delete_state_after_kill == "AWAITING_APPROVAL";
    claim("killed", "Killed (-9) while waiting, nothing is lost", measured, holds)
}

fn decided(evidence: &Evidence) -> Claim {
    let decision = if evidence.person_approved { "approved" } else { "denied" };
    let there = if evidence.deleted_sha256_after.is_empty() { "file gone" } else { "file there" };
    let measured = format!(
        "{decision}: {}, {there}, {} intent(s) and {} outcome(s) on record",
        evidence.delete_state_final, evidence.delete_intents, evidence.delete_outcomes
    );
    let holds = if evidence.person_approved {
        evidence.delete_state_final == "SUCCEEDED"
            && evidence.deleted_sha256_after.is_empty()
            && (evidence.delete_intents, evidence.delete_outcomes) == (1, 1)
    } else {
        evidence.delete_state_final == "DENIED"
            && evidence.deleted_sha256_after == evidence.deleted_sha256_before
            && (evidence.delete_intents, evidence.delete_outcomes) == (0, 1)
    };
    claim("as_decided", "What the person decided is what happens, once", measured, holds)
}

fn once(evidence: &Evidence) -> Claim {
    let Evidence { replay_first_id, replay_second_id, .. } = evidence;
    let holds = !replay_first_id.is_empty() && replay_first_id == replay_second_id;
    let measured = if holds {
        format!("both are {replay_first_id}")
    } else {
        format!("{replay_first_id:?} and {replay_second_id:?}")
    };
    claim("idempotent", "The same request sent twice is one execution", measured, holds)
}

fn undo(evidence: &Evidence) -> Claim {
    let (before, after, undone) =
        (&evidence.deleted_sha256_before, &evidence.deleted_sha256_after, &evidence.deleted_sha256_undone);
    if evidence.delete_state_final == "DENIED" {
        return claim("undo", "An undo restores the file", "not needed: the person denied".to_owned(), true);
    }
    let measured = format!("{} → {} → {}", short(before), short(after), short(undone));
    claim(
        "undo",
        "An undo restores the file",
        measured,
        !before.is_empty() && after.is_empty() && before == undone,
    )
}

fn log(evidence: &Evidence) -> Claim {
    let measured = format!(
        "{} lines, {} finding(s) against a kept checkpoint of {}",
        evidence.log_lines, evidence.log_findings, evidence.checkpoint_size
    );
    let holds = evidence.log_findings == 0
        && evidence.checkpoint_size > 0
        && evidence.log_lines >= evidence.checkpoint_size;
    claim("log", "The audit log verifies offline", measured, holds)
}

fn trace(evidence: &Evidence) -> Claim {
    let sources = evidence.trace_sources.join(", ");
    let measured = format!("{}: {} events from {sources}", evidence.trace_id, evidence.trace_events);
    let holds = evidence.trace_sources == ["approval", "model-router", "tool-executor"];
    claim("trace", "One trace runs through every service", measured, holds)
}

/// The first digits of a hash or id; `absent` for nothing.
fn short(text: &str) -> &str {
    if text.is_empty() { "absent" } else { text.get(..12).unwrap_or(text) }
}
