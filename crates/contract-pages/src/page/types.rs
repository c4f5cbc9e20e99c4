//! Messages and enums, wherever they are told of.

use bulkhead_proto::refused;
use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::{anchor, cell};
use crate::Contract;

/// A message with all its fields, under a heading of the given depth.
pub(super) fn message(
    contract: &Contract,
    message: &MessageDescriptor,
    home: &Home<'_>,
    depth: usize,
) -> String {
    let marks = "#".repeat(depth);
    let file = message.parent_file();
    let comment = contract.comments.of(file.name(), message.path());
    format!("\n{marks} {}\n{comment}\n{}", message.name(), fields(contract, message, home))
}

/// The table of a message's fields; empty for a message without any.
pub(super) fn fields(contract: &Contract, message: &MessageDescriptor, home: &Home<'_>) -> String {
    let rows: String = message.fields().map(|field| row(contract, &field, home)).collect();
    if rows.is_empty() {
        return "\nNo fields.\n".to_owned();
    }
    let choices = choices(contract, message);
    format!("\n| field | type | |\n|---|---|---|\n{rows}{choices}")
}

fn row(contract: &Contract, field: &FieldDescriptor, home: &Home<'_>) -> String {
    let file = field.parent_message().parent_file();
    let comment = cell(contract.comments.of(file.name(), field.path()));
    let refused = if refused::is_refused(field) { "*Refused for now.* " } else { "" };
    format!("| `{}` = {} | {} | {refused}{comment} |\n", field.name(), field.number(), type_of(field, home))
}

/// What the comments of a message's oneofs say.
fn choices(contract: &Contract, message: &MessageDescriptor) -> String {
    let file = message.parent_file();
    let real = message.oneofs().filter(|choice| !choice.is_synthetic());
    real.map(|choice| {
        let names: Vec<String> = choice.fields().map(|field| format!("`{}`", field.name())).collect();
        let comment = contract.comments.of(file.name(), choice.path());
        format!("\nOne of {} (`{}`): {comment}\n", names.join(", "), choice.name())
    })
    .collect()
}

/// An enum with all its values, under a heading of the given depth.
pub(super) fn enumeration(contract: &Contract, item: &EnumDescriptor, depth: usize) -> String {
    let marks = "#".repeat(depth);
    let file = item.parent_file();
    let comment = contract.comments.of(file.name(), item.path());
    let rows: String = item
        .values()
        .map(|value| {
            let comment = cell(contract.comments.of(file.name(), value.path()));
            format!("| `{}` = {} | {comment} |\n", value.name(), value.number())
        })
        .collect();
    format!("\n{marks} {}\n{comment}\n\n| value | |\n|---|---|\n{rows}", item.name())
}

fn type_of(field: &FieldDescriptor, home: &Home<'_>) -> String {
    let name = match field.kind() {
        Kind::Message(message) => home.link(message.full_name(), message.name()),
        Kind::Enum(item) => home.link(item.full_name(), item.name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    match field.cardinality() {
        Cardinality::Repeated => format!("repeated {name}"),
        _ if field.field_descriptor_proto().proto3_optional() => format!("optional {name}"),
        _ => name,
    }
}

/// The page on which links are written, and where each type of ours is told of.
pub(super) struct Home<'a> {
    pub(super) page: &'a str,
    /// Names of the page that tells of a type, by the type's full name.
    pub(super) told_on: &'a dyn Fn(&str) -> Option<String>,
}

impl Home<'_> {
    fn link(&self, full_name: &str, name: &str) -> String {
        match (self.told_on)(full_name) {
            Some(page) if page == self.page => format!("[{name}](#{})", anchor(name)),
            Some(page) => format!("[{name}]({page}#{})", anchor(name)),
            None => full_name.trim_start_matches("google.protobuf.").to_owned(),
        }
    }
}
