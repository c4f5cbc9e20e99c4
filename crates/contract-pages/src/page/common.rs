//! Messages that belong to no single service.

use std::collections::BTreeSet;

use super::types::{Home, enumeration, message};
use super::{WRITTEN, told_on};
use crate::{Contract, Page};

pub(crate) const NAME: &str = "common.md";

const INTRODUCTION: &str = "\
What several services or RPCs share. A field that a sender leaves out has its type's zero; what that means stands
with the field.
";

pub(crate) fn page(contract: &Contract) -> Page {
    let told_on = |name: &str| told_on(contract, name);
    let home = Home { page: NAME, told_on: &told_on };
    let mut text = format!("# Common messages\n{WRITTEN}\n{INTRODUCTION}");
    let here = |name: &str| told_on(name).as_deref() == Some(NAME);
    let packages: BTreeSet<String> = contract
        .messages
        .iter()
        .filter(|message| here(message.full_name()))
        .map(|message| message.package_name().to_owned())
        .collect();
    for package in packages {
        text.push_str(&format!("\n## `{package}`\n"));
        let messages = contract.messages.iter();
        for one in messages.filter(|one| one.package_name() == package && here(one.full_name())) {
            text.push_str(&message(contract, one, &home, 3));
        }
        let enums = contract.enums.iter();
        for one in enums.filter(|one| one.package_name() == package && here(one.full_name())) {
            text.push_str(&enumeration(contract, one, 3));
        }
    }
    Page { name: NAME.to_owned(), text }
}
