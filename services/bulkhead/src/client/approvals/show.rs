//! One approval, in full.

use bulkhead_proto::approval::v1::{Approval, ApprovalState, Decision, Vote};
use bulkhead_proto::common::v1::Principal;
use jiff::Timestamp;

use super::state;
use crate::client::table::fields;
use crate::client::{plan, text, time};

/// Everything that a person needs to decide, the plan in full.
pub(super) fn render(approval: &Approval, now: Timestamp) -> String {
    let expires = match approval.state() {
        ApprovalState::Pending => time::full(approval.expire_time.as_ref(), now),
        _ => String::new(),
    };
    let needs: Vec<_> =
        approval.requirements.iter().map(|need| format!("{} × {}", need.count, need.role)).collect();
    let mut text = fields(&[
        ("approval", approval.approval_id.clone()),
        ("state", state(approval)),
        ("expires", expires),
        ("decided", approval.settle_time.as_ref().map_or_else(String::new, |at| time::full(Some(at), now))),
        ("asked", time::full(approval.create_time.as_ref(), now)),
        ("by", approval.requested_by.as_ref().map_or_else(String::new, who)),
        ("for", approval.on_behalf_of.as_ref().map_or_else(String::new, who)),
        ("session", approval.session_id.clone()),
        ("needs", needs.join(", ")),
        ("plan", format!("sha256 {}", plan::digest(&approval.plan_json))),
    ]);
    for vote in &approval.votes {
        text += &voted(vote, now);
    }
    if plan::digest(&approval.plan_json) != approval.plan_digest {
        text +=
            "WARNING: the service names another digest than that of the plan shown here. Do not approve.\n";
    }
    text + "\n" + &plan::render(&approval.plan_json)
}

fn voted(vote: &Vote, now: Timestamp) -> String {
    let word = match vote.decision() {
        Decision::Approve => "yes",
        Decision::Deny => "no",
        Decision::Edit => "other arguments",
        Decision::Unspecified => "?",
    };
    let voter = vote.voter.as_ref().map_or_else(String::new, |voter| text::harmless(&voter.name));
    let line = format!("vote      {word} by {voter}, {}\n", time::full(vote.time.as_ref(), now));
    line + &text::block(&vote.reason, "          ")
}

fn who(principal: &Principal) -> String {
    let kind = crate::client::word(principal.kind().as_str_name(), "PRINCIPAL_KIND_");
    let owner = if principal.owner.is_empty() { String::new() } else { format!(" of {}", principal.owner) };
    format!("{kind} {}{owner}", principal.name)
}

#[cfg(test)]
mod tests {
    use bulkhead_proto::approval::v1::Requirement;
    use bulkhead_proto::common::v1::PrincipalKind;

    use super::*;
    use crate::client::time::Moment;

    fn at(text: &str) -> Option<prost_types::Timestamp> {
        let at: Timestamp = text.parse().unwrap();
        Some(Moment::At(at).resolve(at))
    }

    fn approval() -> Approval {
        let plan_json = r#"{"arguments":{"path":"a.md"},"effects":[{"kind":"file.delete","preview":"-one\n-two\n","target":"workspace/a.md"}],"tool":"fs.delete"}"#;
        let agent = Principal {
            tenant: "default".into(),
            kind: PrincipalKind::Agent.into(),
            name: "agent".into(),
            owner: "ada".into(),
        };
        Approval {
            approval_id: "01a2058b-2b6d-7000-8000-000000000000".into(),
            state: ApprovalState::Pending.into(),
            on_behalf_of: Some(agent),
            plan_digest: plan::digest(plan_json),
            plan_json: plan_json.into(),
            requirements: vec![Requirement { role: "approver".into(), count: 2 }],
            votes: vec![Vote {
                voter: Some(Principal { name: "grace".into(), ..Principal::default() }),
                decision: Decision::Approve.into(),
                reason: "looks\nright\u{1b}[2J".into(),
                time: at("2026-11-22T11:59:00Z"),
                ..Vote::default()
            }],
            create_time: at("2026-11-22T11:57:00Z"),
            expire_time: at("2026-11-22T12:57:00Z"),
            ..Approval::default()
        }
    }

    fn shown(approval: &Approval) -> String {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        anstream::adapter::strip_str(&render(approval, now)).to_string()
    }

    #[test]
    fn a_person_sees_who_asks_for_what_and_until_when() {
        let expected = "\
approval  01a2058b-2b6d-7000-8000-000000000000
state     pending
expires   2026-11-22 12:57:00Z (in 57 min)
asked     2026-11-22 11:57:00Z (3 min ago)
for       agent agent of ada
needs     2 × approver
plan      sha256 PLAN
vote      yes by grace, 2026-11-22 11:59:00Z (1 min ago)
          looks
          right<U+001B>[2J

fs.delete
  Arguments
    {
      \"path\": \"a.md\"
    }
  Effects
    file.delete workspace/a.md
      -one
      -two
";
        let approval = approval();
        assert_eq!(shown(&approval), expected.replace("PLAN", &approval.plan_digest));
    }

    #[test]
    fn a_digest_that_is_not_the_plans_is_pointed_out() {
        let forged = Approval { plan_digest: "0".repeat(64), ..approval() };
        assert!(shown(&forged).contains("Do not approve"));
    }
}
