//! What may be unfinished at the end of a log.

use bulkhead_audit::event::Event;
use bulkhead_audit::log::Batch;
use bulkhead_audit::verify::{FindingCode as Code, VerifyOptions, VerifyReport, verify};
use bulkhead_edge::PrincipalKind;
use jiff::SignedDuration;

use crate::support::{Folder, event, principal};

/// A log whose only line is an effect that began.
async fn begun() -> Folder {
    let folder = Folder::new();
    let open = folder.open().await;
    let events = vec![Event { kind: "tool.intent".into(), ..event(1) }];
    let source = principal(PrincipalKind::Service, "tool-executor");
    open.log.append(Batch { events, source }).await.expect("appends");
    open.close().await;
    folder
}

fn codes(report: &VerifyReport) -> (Vec<Code>, Vec<Code>) {
    let codes =
        |list: &[_]| list.iter().map(|finding: &bulkhead_audit::verify::Finding| finding.code).collect();
    (codes(&report.findings), codes(&report.notes))
}

#[tokio::test]
async fn an_effect_at_the_very_end_is_open_unless_nothing_may_be() {
    let folder = begun().await;
    let growing = verify(folder.path(), &VerifyOptions::default()).expect("reads");
    assert_eq!(codes(&growing), (vec![], vec![Code::SignatureUnchecked, Code::OpenIntent]), "{growing}");

    let nothing = VerifyOptions { open_for: SignedDuration::ZERO, ..VerifyOptions::default() };
    let ended = verify(folder.path(), &nothing).expect("reads");
    assert_eq!(codes(&ended), (vec![Code::OutcomeMissing], vec![Code::SignatureUnchecked]), "{ended}");
    assert!(!ended.verified);

    // A program gets the same words from the report and from its JSON.
    let json = serde_json::to_value(&ended).expect("JSON");
    assert_eq!(json["findings"][0]["code"], ended.findings[0].code.to_string());
}
