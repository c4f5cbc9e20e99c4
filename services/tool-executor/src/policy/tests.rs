use bulkhead_edge::{Principal, PrincipalKind};
use serde_json::json;

use super::*;
use crate::plan::{Plan, Subject};
use crate::tool::{Effect, EffectKind, Planned, Reversibility};

fn caller(roles: &[&str]) -> Caller {
    let principal = Principal {
        tenant: "acme".into(),
        kind: PrincipalKind::Agent,
        name: "scribe".into(),
        owner: Some("ada".into()),
    };
    Caller { principal, roles: roles.iter().map(|role| (*role).to_owned()).collect() }
}

fn planned(kinds: &[EffectKind], reversibility: Reversibility) -> Planned {
    let effect = |kind: &EffectKind| Effect {
        kind: *kind,
        target: "work/a".into(),
        destination: None,
        preview: String::new(),
        before_sha256: None,
        after_sha256: None,
    };
    Planned {
        effects: kinds.iter().map(effect).collect(),
        preconditions: Vec::new(),
        reversibility,
        sensitivity: Vec::new(),
    }
}

fn seal(caller: &Caller, planned: &Planned) -> Plan {
    let arguments = json!({});
    let subject = Subject {
        principal: &caller.principal,
        session: "",
        tool: "fs.write",
        tool_schema_digest: "d",
        arguments: &arguments,
        undo_of: None,
    };
    Plan::seal(subject, planned).expect("sealed")
}

fn decide(text: &str, planned: &Planned, undo: Option<UndoFacts>) -> Verdict {
    let caller = caller(&["agent"]);
    let plan = seal(&caller, planned);
    let policy = Policy::parse(text).expect("a policy");
    policy.decide(&Question { caller: &caller, tool: "fs.write", plan: &plan, planned, undo })
}

fn confirm(text: &str, planned: &Planned, votes: &[Voted]) -> Result<Confirmed, NotConfirmed> {
    let caller = caller(&["agent"]);
    let plan = seal(&caller, planned);
    let policy = Policy::parse(text).expect("a policy");
    let question = Question { caller: &caller, tool: "fs.write", plan: &plan, planned, undo: None };
    policy.confirm(&question, votes)
}

fn approver(count: u32) -> Vec<Approver> {
    vec![Approver { role: "approver".into(), count }]
}

fn vote(name: &str) -> Voted {
    Voted { name: name.into(), roles: vec!["approver".into()] }
}

fn overwrite() -> Planned {
    planned(&[EffectKind::FileOverwrite], Reversibility::Reversible)
}

/// `text` on top of the default policy.
fn with_default(text: &str) -> String {
    format!("{DEFAULT_POLICY}\n{text}")
}

#[test]
fn the_default_policy() {
    use EffectKind as K;
    use Reversibility as R;
    let gated = || Decision::ExecuteWithApproval(approver(1));
    let undo = |own, unchanged| Some(UndoFacts { own, unchanged, of_undo: false });
    let redo = Some(UndoFacts { own: true, unchanged: true, of_undo: true });
    let cases: [(&[K], R, Option<UndoFacts>, Decision); 20] = [
        (&[K::FileRead], R::ReadOnly, None, Decision::Execute),
        (&[K::FileList], R::ReadOnly, None, Decision::Execute),
        (&[K::FileCreate], R::Reversible, None, Decision::Execute),
        (&[K::FileAppend], R::Reversible, None, Decision::Execute),
        (&[K::FileMove], R::Reversible, None, Decision::Execute),
        (&[K::FileCreate, K::FileMove], R::Reversible, None, Decision::Execute),
        (&[K::FileAppend], R::Irreversible, None, gated()),
        (&[K::FileMove, K::FileDelete], R::Reversible, None, gated()),
        (&[K::FileMove], R::Reversible, undo(true, true), Decision::Execute),
        (&[K::FileMove], R::Reversible, undo(true, false), gated()),
        (&[K::FileOverwrite], R::Reversible, None, gated()),
        (&[K::FileDelete], R::Reversible, None, gated()),
        (&[K::FileCreate, K::FileDelete], R::Reversible, None, gated()),
        (&[K::FileCreate], R::Irreversible, None, gated()),
        (&[K::FileDelete], R::Reversible, undo(true, true), Decision::Execute),
        (&[K::FileDelete], R::Reversible, undo(true, false), gated()),
        (&[K::FileDelete], R::Reversible, undo(false, true), gated()),
        (&[K::FileCreate], R::Reversible, undo(false, true), gated()),
        (&[K::FileCreate], R::Reversible, redo, gated()),
        (&[K::FileDelete], R::Reversible, redo, gated()),
    ];
    for (kinds, reversibility, undo, expected) in cases {
        let verdict = decide(DEFAULT_POLICY, &planned(kinds, reversibility), undo);
        assert_eq!(verdict.decision(), &expected, "{kinds:?} {reversibility:?} {undo:?}");
        assert!(!verdict.policy_ids().is_empty() && verdict.problems().is_empty());
    }
}

#[test]
fn an_empty_policy_denies() {
    assert_eq!(decide("", &overwrite(), None).decision(), &Decision::Deny);
}

#[test]
fn what_may_only_be_planned_is_not_run() {
    let text = r#"permit (principal, action == Bulkhead::Action::"dry_run", resource);"#;
    assert_eq!(decide(text, &overwrite(), None).decision(), &Decision::DryRunOnly);
}

#[test]
fn a_forbid_that_errors_denies() {
    // Beyond i64 on purpose: Cedar would skip the forbid and allow.
    let text = with_default(
        r#"@id("overflows") forbid (principal, action, resource)
           when { 9223372036854775807 + context.effects.creates + 1 < 0 };"#,
    );
    let verdict = decide(&text, &planned(&[EffectKind::FileCreate], Reversibility::Reversible), None);
    assert_eq!(verdict.decision(), &Decision::Deny);
    assert!(verdict.problems()[0].contains("overflows"), "{:?}", verdict.problems());
    let confirmed = confirm(&text, &overwrite(), &[vote("bob")]);
    assert!(matches!(confirmed, Err(NotConfirmed::Broken { .. })), "{confirmed:?}");
}

#[test]
fn an_approval_cannot_open_what_the_policy_keeps_shut() {
    let shut = with_default(
        r#"forbid (principal, action == Bulkhead::Action::"execute", resource == Bulkhead::Tool::"fs.write");"#,
    );
    // Nobody is asked, and a vote that is there already does not help.
    assert_eq!(decide(&shut, &overwrite(), None).decision(), &Decision::DryRunOnly);
    let confirmed = confirm(&shut, &overwrite(), &[vote("bob")]);
    assert!(matches!(confirmed, Err(NotConfirmed::Shut { .. })), "{confirmed:?}");
    assert!(confirm(DEFAULT_POLICY, &overwrite(), &[vote("bob")]).is_ok());
}

#[test]
fn the_quorum_is_the_one_of_now() {
    let stricter = with_default(
        r#"@approvers("approver:2") permit (principal, action == Bulkhead::Action::"execute_with_approval", resource);"#,
    );
    assert_eq!(decide(&stricter, &overwrite(), None).decision(), &Decision::ExecuteWithApproval(approver(2)));
    let confirmed = confirm(&stricter, &overwrite(), &[vote("bob")]);
    assert_eq!(confirmed, Err(NotConfirmed::Votes(Missing(approver(1)))));
    assert!(confirm(&stricter, &overwrite(), &[vote("bob"), vote("eve")]).is_ok());
}

#[test]
fn the_owner_of_the_agent_does_not_count() {
    let confirmed = confirm(DEFAULT_POLICY, &overwrite(), &[vote("ada")]);
    assert_eq!(confirmed, Err(NotConfirmed::Votes(Missing(approver(1)))));
}

#[test]
fn policies_that_could_not_keep_their_word_are_refused() {
    let permit = r#"permit (principal, action == Bulkhead::Action::"execute_with_approval", resource);"#;
    let free = r#"permit (principal, action == Bulkhead::Action::"execute", resource);"#;
    let bad = [
        permit.to_owned(),
        "permit (principal, action, resource);".to_owned(),
        format!("@approvers(\"\") {permit}"),
        format!("@approvers(\"approver\") {permit}"),
        format!("@approvers(\"approver:0\") {permit}"),
        format!("@approvers(\"approver:17\") {permit}"),
        format!("@approvers(\"Approver:1\") {permit}"),
        format!("@approvers(\"approver:1,approver:2\") {permit}"),
        format!("@approvers(\"a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1\") {permit}"),
        format!("@approvers(\"approver:1\") {free}"),
        format!("@id(\"one\") {free} @id(\"one\") {free}"),
        "permit (principal == ?principal, action, resource);".to_owned(),
        r#"permit (principal, action == Bulkhead::Action::"exekute", resource);"#.to_owned(),
        r#"permit (principal, action == Bulkhead::Action::"execute", resource) when { context.path == "a" };"#
            .to_owned(),
        "permit (".to_owned(),
    ];
    for text in bad {
        assert!(Policy::parse(&text).is_err(), "accepted {text}");
    }
    assert!(Policy::parse(&format!("@approvers(\"approver:1, dba:2\") {permit}")).is_ok());
}
