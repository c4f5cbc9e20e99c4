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

/// How a row is made from what was measured.
type Row = fn(&Evidence) -> Claim;

/// Rows of a demo that went to its end. A person who denies leaves nothing to undo.
pub(super) fn expected(evidence: &Evidence) -> usize {
    if evidence.delete_state_final == "DENIED" { 13 } else { 14 }
}

/// Every claim that was measured, in the order in which the demo goes. What was not reached has no row.
pub(super) fn claims(evidence: &Evidence) -> Vec<Claim> {
    let Evidence { delete_state_before_decision, delete_state_final, .. } = evidence;
    let secret = &evidence.secret_seen;
    let rows: [(bool, Row); 14] = [
        (evidence.delay_told_seconds > 0.0, delay),
        (!evidence.down_answered_by.is_empty(), fallback),
        (secret.primary + secret.fallback + secret.local > 0, sensitivity),
        (!evidence.tree_after_dry_run.is_empty(), dry_run),
        (!evidence.summary_found_sha256.is_empty(), create),
        (!evidence.locked_answer.is_empty(), no_record_no_effect),
        (!delete_state_before_decision.is_empty(), waits_for_a_person),
        (!evidence.owner_vote.is_empty(), self_approval),
        (evidence.pid_after_kill > 0, killed),
        (!delete_state_final.is_empty(), decided),
        (!evidence.replay_second_id.is_empty(), once),
        (delete_state_final == "SUCCEEDED" && !evidence.deleted_sha256_before.is_empty(), undo),
        (evidence.log_lines > 0, log),
        (evidence.trace_events > 0, trace),
    ];
    rows.into_iter().filter(|(measured, _)| *measured).map(|(_, row)| row(evidence)).collect()
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
    let untouched = evidence.deleted_sha256_after_owner_vote == evidence.deleted_sha256_before;
    let file = if untouched { "file untouched" } else { "file changed" };
    let measured = format!("the owner's vote: {}, {file}", evidence.owner_vote);
    let holds = evidence.owner_vote == "PERMISSION_DENIED SELF_APPROVAL" && untouched;
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
    let Evidence { replay_first_id, replay_second_id, replay_intents, .. } = evidence;
    let same = replay_first_id == replay_second_id;
    let untouched = evidence.replay_stamp_before == evidence.replay_stamp_after;
    let measured = format!(
        "{} execution, {replay_intents} intent(s) on record, file {} by the repetition",
        if same { "the same" } else { "another" },
        if untouched { "untouched" } else { "changed" },
    );
    let holds = same && *replay_intents == 1 && untouched && evidence.replay_stamp_before.is_some();
    claim("idempotent", "The same request sent twice acts once", measured, holds)
}

fn undo(evidence: &Evidence) -> Claim {
    let (before, after, undone) =
        (&evidence.deleted_sha256_before, &evidence.deleted_sha256_after, &evidence.deleted_sha256_undone);
    let measured = format!("{} → {} → {}", short(before), short(after), short(undone));
    claim("undo", "An undo restores the file", measured, after.is_empty() && before == undone)
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
    claim("trace", "One trace runs through every service that acts", measured, holds)
}

/// The first digits of a hash or id; `absent` for nothing.
fn short(text: &str) -> &str {
    if text.is_empty() { "absent" } else { text.get(..12).unwrap_or(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::evidence::SeenBy;

    type Change = fn(&mut Evidence);

    /// A demo in which everything went as claimed.
    fn good() -> Evidence {
        Evidence {
            delay_told_seconds: 2.0,
            delay_waited_seconds: Some(2.1),
            down_answered_by: "fallback".into(),
            down_attempts_reported: 4,
            down_attempts_seen: 4,
            secret_seen: SeenBy { primary: 0, fallback: 0, local: 3 },
            tree_before_dry_run: "tree".into(),
            tree_after_dry_run: "tree".into(),
            dry_run_effects: 1,
            summary_planned_sha256: "summary".into(),
            summary_found_sha256: "summary".into(),
            locked_answer: "UNAVAILABLE STORE_UNAVAILABLE".into(),
            locked_file_appeared: false,
            unlocked_file_appeared: true,
            delete_state_before_decision: "AWAITING_APPROVAL".into(),
            deleted_sha256_before: "draft".into(),
            deleted_sha256_while_waiting: "draft".into(),
            owner_vote: "PERMISSION_DENIED SELF_APPROVAL".into(),
            deleted_sha256_after_owner_vote: "draft".into(),
            pid_before_kill: 10,
            pid_after_kill: 11,
            delete_state_after_kill: "AWAITING_APPROVAL".into(),
            person_approved: true,
            delete_state_final: "SUCCEEDED".into(),
            deleted_sha256_after: String::new(),
            delete_intents: 1,
            delete_outcomes: 1,
            replay_first_id: "e1".into(),
            replay_second_id: "e1".into(),
            replay_intents: 1,
            replay_stamp_before: Some((7, 1, 1)),
            replay_stamp_after: Some((7, 1, 1)),
            deleted_sha256_undone: "draft".into(),
            log_lines: 21,
            log_findings: 0,
            checkpoint_size: 21,
            trace_id: "t".into(),
            trace_events: 21,
            trace_sources: ["approval", "model-router", "tool-executor"].map(str::to_owned).to_vec(),
        }
    }

    fn failing(evidence: &Evidence) -> Vec<&'static str> {
        claims(evidence).into_iter().filter(|claim| !claim.holds).map(|claim| claim.id).collect()
    }

    #[test]
    fn a_good_demo_has_every_row_and_each_holds() {
        assert_eq!(failing(&good()), Vec::<&str>::new());
        assert_eq!(claims(&good()).len(), expected(&good()));
    }

    #[test]
    fn what_was_not_reached_has_no_row() {
        assert_eq!(claims(&Evidence::default()), []);
    }

    #[test]
    fn a_denial_leaves_nothing_to_undo() {
        let denied = Evidence {
            person_approved: false,
            delete_state_final: "DENIED".into(),
            deleted_sha256_after: "draft".into(),
            delete_intents: 0,
            ..good()
        };
        assert_eq!(failing(&denied), Vec::<&str>::new());
        assert_eq!(claims(&denied).len(), expected(&denied));
    }

    #[test]
    fn each_claim_fails_when_the_world_says_otherwise() {
        let table: [(&str, Change); 22] = [
            ("retry_after", |e| e.delay_waited_seconds = Some(1.9)),
            ("retry_after", |e| e.delay_waited_seconds = None),
            ("fallback", |e| e.down_answered_by = "primary".into()),
            ("fallback", |e| e.down_attempts_seen = 5),
            ("local_only", |e| e.secret_seen.primary = 1),
            ("local_only", |e| e.secret_seen = SeenBy { primary: 0, fallback: 2, local: 0 }),
            ("dry_run", |e| e.tree_after_dry_run = "other".into()),
            ("as_planned", |e| e.summary_found_sha256 = "other".into()),
            ("record_first", |e| e.locked_file_appeared = true),
            ("record_first", |e| e.unlocked_file_appeared = false),
            ("gated", |e| e.delete_state_before_decision = "SUCCEEDED".into()),
            ("gated", |e| e.deleted_sha256_while_waiting = String::new()),
            ("self_approval", |e| e.owner_vote = "OK".into()),
            ("self_approval", |e| e.deleted_sha256_after_owner_vote = String::new()),
            ("killed", |e| e.pid_after_kill = 10),
            ("killed", |e| e.delete_state_after_kill = "FAILED".into()),
            ("as_decided", |e| e.delete_intents = 2),
            ("idempotent", |e| e.replay_intents = 2),
            ("idempotent", |e| e.replay_stamp_after = Some((8, 1, 2))),
            ("undo", |e| e.deleted_sha256_undone = "other".into()),
            ("log", |e| e.log_findings = 1),
            ("trace", |e| e.trace_sources.truncate(2)),
        ];
        for (claim, change) in table {
            let mut evidence = good();
            change(&mut evidence);
            assert_eq!(failing(&evidence), [claim]);
        }
    }
}
