//! The chain of lines that one agent writes.

use bulkhead_canonical_json::sha256_hex;

/// A ledger's first line follows this.
pub(in crate::chaos) const GENESIS: &str = "0";

/// A file of which every line carries the hash of the one before.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The file.
    pub(super) path: String,
    /// Hash of the last line that is certainly there.
    last: String,
    /// Whether the file is certainly there.
    pub(super) exists: bool,
}

impl Ledger {
    /// An agent's own, still without a file.
    pub(super) fn of(agent: u32) -> Self {
        Self { path: format!("ledgers/a{agent}.txt"), last: GENESIS.to_owned(), exists: false }
    }

    /// The line that follows, with its end. No other has its number.
    pub(super) fn next(&self, number: u32) -> String {
        format!("{} {number}\n", self.last)
    }

    /// A line is certainly there, and stays.
    pub(super) fn add(&mut self, line: &str) {
        self.last = sha256_hex(line.trim_end());
    }
}
