//! One module a kind of page.

pub(crate) mod common;
pub(crate) mod errors;
pub(crate) mod index;
pub(crate) mod service;
mod types;

use prost_reflect::ServiceDescriptor;

use crate::Contract;

/// What stands under each heading that nobody should edit by hand.
const WRITTEN: &str = "*Written from the contract by `cargo run -p bulkhead-contract-pages`; do not edit.*\n";

/// A cell of a table: one line, in which a bar does not end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A link that works as GitHub makes anchors of headings.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || *letter == '_' || *letter == '-')
        .collect()
}

/// The file name of a service's page.
fn name_of(service: &ServiceDescriptor) -> String {
    format!("{}.md", service.name())
}

/// The page that tells of a type of ours: that of the service in its file, or the common one.
fn told_on(contract: &Contract, full_name: &str) -> Option<String> {
    let messages = contract.messages.iter().map(|one| (one.full_name(), one.parent_file()));
    let enums = contract.enums.iter().map(|one| (one.full_name(), one.parent_file()));
    let (_, file) = messages.chain(enums).find(|(name, _)| *name == full_name)?;
    let service = file.services().next();
    Some(service.map_or_else(|| common::NAME.to_owned(), |service| name_of(&service)))
}
