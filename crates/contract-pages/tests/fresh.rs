//! The pages in the checkout against the contract.

use std::collections::BTreeSet;
use std::fs;

use bulkhead_contract_pages::{folder, pages};

/// Written by hand.
const BY_HAND: [&str; 1] = ["requirements.md"];

#[test]
fn every_page_says_what_the_contract_says() {
    let stale: Vec<String> = pages()
        .expect("descriptors")
        .into_iter()
        .filter(|page| fs::read_to_string(folder().join(&page.name)).ok().as_ref() != Some(&page.text))
        .map(|page| page.name)
        .collect();
    assert!(stale.is_empty(), "stale: {stale:?}; run `cargo run -p bulkhead-contract-pages`");
}

#[test]
fn no_page_is_left_of_what_the_contract_no_longer_has() {
    let written: BTreeSet<String> = pages().expect("descriptors").into_iter().map(|page| page.name).collect();
    let files = fs::read_dir(folder()).expect("docs/contract");
    let stray: Vec<String> = files
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !written.contains(name) && !BY_HAND.contains(&name.as_str()))
        .collect();
    assert!(stray.is_empty(), "delete {stray:?}");
}
