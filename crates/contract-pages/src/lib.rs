//! The pages under `docs/contract/`, written from the contract itself.
//!
//! Promises that what stands there is what the descriptors and the table of reasons say, and nothing else: a
//! test fails when a page is older than its source.

mod page;

use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its name in the folder, such as `errors.md`.
    pub name: String,
    /// Markdown.
    pub text: String,
}

/// Every page.
#[must_use]
pub fn pages() -> Vec<Page> {
    vec![page::errors::page()]
}

/// Where the pages stand in a checkout.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract")
}
