//! What every part of the contract owes to its callers, checked over the descriptor set.
#![expect(clippy::expect_used, reason = "a broken contract ends the test")]

use std::collections::BTreeSet;

use bulkhead_proto::reasons::{self, Origin, SECTIONS};
use bulkhead_proto::rules;
use prost_reflect::{Kind, MessageDescriptor};

/// Every method with its rule and input message.
fn methods() -> Vec<(rules::MethodRule, MessageDescriptor, MessageDescriptor)> {
    let pool = rules::pool().expect("descriptors");
    let by_path = rules::by_path().expect("rules");
    let mut methods = Vec::new();
    for service in pool.services().filter(|service| service.full_name().starts_with("bulkhead.")) {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            methods.push((by_path[&path].clone(), method.input(), method.output()));
        }
    }
    assert!(methods.len() >= 45, "only {} methods found", methods.len());
    methods
}

#[test]
fn every_rpc_says_who_may_call_it() {
    let open: Vec<_> = methods().into_iter().filter(|(rule, ..)| rule.roles.is_empty()).collect();
    assert!(open.is_empty(), "no roles: {open:?}");
}

#[test]
fn every_declared_reason_has_a_row_and_every_row_of_a_service_is_declared() {
    let mut declared = BTreeSet::new();
    for (rule, ..) in methods() {
        assert!(rule.reasons.is_sorted(), "{}: sort its reasons", rule.path());
        for reason in rule.reasons {
            let (origin, row) = reasons::find(&reason).unwrap_or_else(|| panic!("{reason} has no row"));
            assert_eq!(origin, Origin::Service, "any RPC may answer {reason}; do not declare it");
            declared.insert(row.name);
        }
    }
    let services = SECTIONS.iter().filter(|section| section.origin == Origin::Service);
    let idle: Vec<_> = services
        .flat_map(|section| section.reasons)
        .filter(|row| !declared.contains(row.name))
        .map(|row| row.name)
        .collect();
    assert!(idle.is_empty(), "no RPC declares {idle:?}");
}

#[test]
fn every_section_is_sorted_and_no_reason_stands_twice() {
    let mut seen = BTreeSet::new();
    for section in SECTIONS {
        assert!(section.reasons.is_sorted_by_key(|row| row.name), "sort {}", section.title);
        for row in section.reasons {
            assert!(seen.insert(row.name), "{} stands twice", row.name);
            assert!(!row.codes.is_empty(), "{} has no code", row.name);
        }
    }
}

#[test]
fn every_mutating_request_has_a_request_id() {
    for (rule, input, _) in methods().into_iter().filter(|(rule, ..)| rule.mutating) {
        let field = input.get_field_by_name("request_id");
        let kind = field.map(|field| field.kind());
        assert_eq!(kind, Some(Kind::String), "{} needs `string request_id`", rule.path());
    }
}

/// How long an id is remembered: by what changes a store, by the router's memory, and by what goes by other ids.
const WINDOWS: [&str; 3] = ["31 days", "ten minutes", "not remembered"];

#[test]
fn every_request_id_says_how_long_it_is_remembered() {
    let pool = rules::pool().expect("descriptors");
    let mutating = methods().into_iter().filter(|(rule, ..)| rule.mutating);
    for input in mutating.map(|(_, input, _)| input) {
        let field = input.get_field_by_name("request_id").expect("an id");
        let file = pool.get_file_by_name(input.parent_file().name()).expect("its file");
        let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
        let place = info.location.iter().find(|location| location.path == field.path());
        let comment = place.map(|place| place.leading_comments().replace("\n", "")).unwrap_or_default();
        let said = WINDOWS.iter().filter(|window| comment.contains(**window)).count();
        assert_eq!(said, 1, "{}: {comment}", field.full_name());
    }
}

#[test]
fn every_list_is_paged() {
    for (rule, input, output) in methods() {
        if !rule.method.starts_with("List") && !rule.method.starts_with("Query") {
            continue;
        }
        for field in ["page_size", "page_token"] {
            assert!(input.get_field_by_name(field).is_some(), "{} needs `{field}`", input.full_name());
        }
        let next = output.get_field_by_name("next_page_token");
        assert!(next.is_some(), "{} needs `next_page_token`", output.full_name());
    }
}

#[test]
fn every_enum_begins_with_unspecified() {
    let pool = rules::pool().expect("descriptors");
    let mut seen = 0;
    for descriptor in pool.all_enums().filter(|item| item.full_name().starts_with("bulkhead.")) {
        let zero = descriptor.get_value(0).map(|value| value.name().to_owned()).unwrap_or_default();
        assert!(zero.ends_with("_UNSPECIFIED"), "{}: zero is {zero:?}", descriptor.full_name());
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} enums found");
}

#[test]
fn every_message_field_and_rpc_is_documented() {
    let pool = rules::pool().expect("descriptors");
    let mut bare = Vec::new();
    for file in pool.files().filter(|file| file.package_name().starts_with("bulkhead.")) {
        let proto = file.file_descriptor_proto();
        let documented: Vec<&[i32]> = proto
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .filter(|location| location.leading_comments.is_some())
            .map(|location| location.path.as_slice())
            .collect();
        let descriptors = file.messages().map(|message| {
            (
                message.full_name().to_owned(),
                message.path().to_vec(),
                message
                    .fields()
                    .map(|field| (field.full_name().to_owned(), field.path().to_vec()))
                    .collect::<Vec<_>>(),
            )
        });
        for (name, path, fields) in descriptors {
            for (name, path) in std::iter::once((name, path)).chain(fields) {
                if !documented.contains(&path.as_slice()) {
                    bare.push(name);
                }
            }
        }
        for service in file.services() {
            for method in service.methods() {
                if !documented.contains(&method.path()) {
                    bare.push(method.full_name().to_owned());
                }
            }
        }
    }
    assert!(bare.is_empty(), "undocumented: {bare:#?}");
}
