//! One service: its RPCs, and the types that only they use.

use bulkhead_proto::reasons::{self, Reason};
use bulkhead_proto::rules::MethodRule;
use prost_reflect::{MethodDescriptor, ServiceDescriptor};

use super::errors::code_name;
use super::types::{Home, enumeration, fields, message};
use super::{WRITTEN, anchor, cell, name_of, told_on};
use crate::{Contract, Page};

pub(crate) fn page(contract: &Contract, service: &ServiceDescriptor) -> Page {
    let name = name_of(service);
    let told_on = |full_name: &str| told_on(contract, full_name);
    let home = Home { page: &name, told_on: &told_on };
    let comment = contract.comments.of(service.parent_file().name(), service.path());
    let list: String = service.methods().map(|method| line(contract, &method)).collect();
    let rpcs: String = service.methods().map(|method| rpc(contract, &method, &home)).collect();
    let text = format!(
        "# {}\n{WRITTEN}\n{comment}\n\nFull name: `{}`.\n\n| RPC | may call | changes something |\n|---|---|---|\n\
         {list}\n## RPCs\n{rpcs}{}",
        service.name(),
        service.full_name(),
        types(contract, service, &home)
    );
    Page { name, text }
}

fn rule<'a>(contract: &'a Contract, method: &MethodDescriptor) -> Option<&'a MethodRule> {
    contract.rules.get(&format!("/{}/{}", method.parent_service().full_name(), method.name()))
}

fn roles(rule: &MethodRule) -> String {
    rule.roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(", ")
}

fn implemented(contract: &Contract, method: &MethodDescriptor) -> bool {
    let path = format!("{}/{}", method.parent_service().full_name(), method.name());
    !contract.unimplemented.contains(path.as_str())
}

/// The RPC in the table at the top.
fn line(contract: &Contract, method: &MethodDescriptor) -> String {
    let Some(rule) = rule(contract, method) else { return String::new() };
    let name = method.name();
    let later = if implemented(contract, method) { "" } else { " (not implemented yet)" };
    let changes = if rule.mutating { "yes" } else { "no" };
    format!("| [{name}](#{}){later} | {} | {changes} |\n", anchor(name), roles(rule))
}

fn rpc(contract: &Contract, method: &MethodDescriptor, home: &Home<'_>) -> String {
    let Some(rule) = rule(contract, method) else { return String::new() };
    let (input, output) = (method.input(), method.output());
    let comment = contract.comments.of(method.parent_file().name(), method.path());
    let later = if implemented(contract, method) {
        String::new()
    } else {
        "\n**Not implemented yet:** answers `UNIMPLEMENTED` / `RPC_NOT_IMPLEMENTED`.\n".to_owned()
    };
    let stream = if rule.server_streaming { "a stream of " } else { "" };
    format!(
        "\n### {}\n{comment}\n{later}\n- May call: {}\n- Side effect: {}\n- Deadline without `grpc-timeout`: {}\n\
         - Errors: {}\n\n#### {}\nThe request.\n{}\n#### {}\nThe answer: {stream}this message.\n{}",
        method.name(),
        roles(rule),
        side_effect(contract, rule, method),
        if rule.server_streaming { "`stream_timeout_ms`" } else { "`unary_timeout_ms`" },
        errors(rule),
        input.name(),
        fields(contract, &input, home),
        output.name(),
        fields(contract, &output, home),
    )
}

/// Whether a call changes anything, and what makes it safe to send again: the words of its `request_id`.
fn side_effect(contract: &Contract, rule: &MethodRule, method: &MethodDescriptor) -> String {
    if !rule.mutating {
        return "none; safe to repeat".to_owned();
    }
    let input = method.input();
    let Some(field) = input.get_field_by_name("request_id") else { return "yes".to_owned() };
    let comment = contract.comments.of(input.parent_file().name(), field.path());
    format!("yes. `request_id`: {comment}")
}

fn errors(rule: &MethodRule) -> String {
    if rule.reasons.is_empty() {
        return "only [what any RPC may answer](errors.md#any-rpc)".to_owned();
    }
    let rows = rule.reasons.iter().filter_map(|reason| reasons::find(reason));
    let rows: String = rows.map(|(_, row)| error(row)).collect();
    format!(
        "[what any RPC may answer](errors.md#any-rpc), and\n\n\
         | reason | code | happened | retry | meaning |\n|---|---|---|---|---|\n{rows}"
    )
}

fn error(row: &Reason) -> String {
    let codes: Vec<String> = row.codes.iter().map(|code| format!("`{}`", code_name(*code))).collect();
    format!(
        "| [`{}`](errors.md#{}) | {} | {} | {} | {} |\n",
        row.name,
        row.name.to_lowercase(),
        codes.join(", "),
        row.happened.as_str(),
        row.retry.as_str(),
        cell(row.meaning)
    )
}

/// What stands in the service's file beside its requests and answers.
fn types(contract: &Contract, service: &ServiceDescriptor, home: &Home<'_>) -> String {
    let file = service.parent_file();
    let spoken: Vec<String> = service
        .methods()
        .flat_map(|method| [method.input().full_name().to_owned(), method.output().full_name().to_owned()])
        .collect();
    let messages = contract.messages.iter().filter(|one| {
        one.parent_file().name() == file.name() && !spoken.iter().any(|name| name == one.full_name())
    });
    let messages: String = messages.map(|one| message(contract, one, home, 3)).collect();
    let enums = contract.enums.iter().filter(|one| one.parent_file().name() == file.name());
    let enums: String = enums.map(|one| enumeration(contract, one, 3)).collect();
    if messages.is_empty() && enums.is_empty() {
        return String::new();
    }
    format!("\n## Types\n{messages}{enums}")
}
