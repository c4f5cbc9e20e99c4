//! The pages under `docs/contract/`, written from the contract itself.
//!
//! Promises that what stands there is what the descriptors and the table of reasons say, and nothing else: a
//! test fails when a page is older than its source.

mod comments;
mod page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bulkhead_proto::rules::{self, DescriptorError};

use comments::Comments;

/// What this build does not implement, one RPC a line; a test of the running services keeps it true.
const UNIMPLEMENTED: &str = include_str!("../../../tests/unimplemented.txt");

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its name in the folder, such as `errors.md`.
    pub name: String,
    /// Markdown.
    pub text: String,
}

/// The contract as the pages tell it.
struct Contract {
    services: Vec<prost_reflect::ServiceDescriptor>,
    messages: Vec<prost_reflect::MessageDescriptor>,
    enums: Vec<prost_reflect::EnumDescriptor>,
    rules: std::collections::HashMap<String, rules::MethodRule>,
    comments: Comments,
    unimplemented: BTreeSet<&'static str>,
}

impl Contract {
    fn read() -> Result<Self, DescriptorError> {
        let pool = rules::pool()?;
        let ours = |name: &str| name.starts_with("bulkhead.");
        Ok(Self {
            services: pool.services().filter(|service| ours(service.full_name())).collect(),
            messages: pool.all_messages().filter(|message| ours(message.full_name())).collect(),
            enums: pool.all_enums().filter(|item| ours(item.full_name())).collect(),
            rules: rules::by_path()?,
            comments: Comments::read(&pool),
            unimplemented: UNIMPLEMENTED.lines().collect(),
        })
    }
}

/// Every page.
///
/// # Errors
/// When the embedded descriptors do not decode, which only a broken build can cause.
pub fn pages() -> Result<Vec<Page>, DescriptorError> {
    let contract = Contract::read()?;
    let mut pages = vec![page::errors::page(), page::common::page(&contract)];
    pages.extend(contract.services.iter().map(|service| page::service::page(&contract, service)));
    pages.push(page::index::page(&contract));
    Ok(pages)
}

/// Where the pages stand in a checkout.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract")
}
