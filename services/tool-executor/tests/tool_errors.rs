//! The table of docs/tool-errors.md against the code.

use std::collections::BTreeSet;

use bulkhead_tool_executor::tool::ToolFaultKind as K;
use serde_json::json;

const DOCUMENT: &str = include_str!("../../../docs/tool-errors.md");

/// Every kind. The match makes a new one a compile error here.
const ALL: [K; 17] = [
    K::UnknownTool,
    K::InvalidArguments,
    K::PathNotAllowed,
    K::NotFound,
    K::AlreadyExists,
    K::WrongFileType,
    K::TooLarge,
    K::NotText,
    K::PermissionDenied,
    K::Stale,
    K::NotUndoable,
    K::PolicyDenied,
    K::ApprovalDenied,
    K::ApprovalExpired,
    K::IoError,
    K::AuditUnavailable,
    K::OutcomeUnknown,
];

fn listed(kind: K) -> bool {
    match kind {
        K::UnknownTool
        | K::InvalidArguments
        | K::PathNotAllowed
        | K::NotFound
        | K::AlreadyExists
        | K::WrongFileType
        | K::TooLarge
        | K::NotText
        | K::PermissionDenied
        | K::Stale
        | K::NotUndoable
        | K::PolicyDenied
        | K::ApprovalDenied
        | K::ApprovalExpired
        | K::IoError
        | K::AuditUnavailable
        | K::OutcomeUnknown => ALL.contains(&kind),
    }
}

#[test]
fn every_kind_has_its_row_and_every_row_its_kind() {
    let table = DOCUMENT.split("## What is a gRPC error").next().expect("a table");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let told: BTreeSet<String> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let word = |kind: K| json!(kind).as_str().expect("a word").to_owned();
    assert_eq!(told, ALL.into_iter().map(word).collect());
    for kind in ALL {
        assert!(listed(kind));
        let row = rows.iter().find(|row| row[0].trim_matches('`') == word(kind)).expect("a row");
        assert_eq!(row[3] == "yes", kind.retryable(), "{kind:?}");
        assert!(!row[4].is_empty(), "{kind:?} says nothing to do");
    }
}
