//! Page sizes and tokens, the same for every list.

use sha2::{Digest as _, Sha256};

use crate::Violations;

/// Rows in a page when the caller names no size.
const DEFAULT_SIZE: u32 = 100;
/// Rows in a page at most.
const SIZE_MAX: u32 = 1_000;

/// Where a page starts and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Rows at most, 1 to 1,000.
    pub size: u32,
    /// The cursor of the previous page's last row; none on the first page.
    pub after: Option<u64>,
}

impl Page {
    /// Reads `page_size` and `page_token`. The token is bound to `filters`, so that one from another query
    /// is refused instead of giving a wrong page.
    pub fn read(size: u32, token: &str, filters: &str, violations: &mut Violations) -> Self {
        violations.require(size <= SIZE_MAX, "page_size", "must be 1 to 1000, or 0 for 100");
        let after = if token.is_empty() { None } else { cursor(token, filters) };
        violations.require(
            token.is_empty() || after.is_some(),
            "page_token",
            "must be the next_page_token of an answer to the same filters, or empty",
        );
        Self { size: if size == 0 { DEFAULT_SIZE } else { size.min(SIZE_MAX) }, after }
    }
}

/// The token that continues after `cursor`.
#[must_use]
pub fn token(cursor: u64, filters: &str) -> String {
    format!("{cursor}.{}", fingerprint(filters))
}

fn cursor(token: &str, filters: &str) -> Option<u64> {
    let (cursor, print) = token.split_once('.')?;
    (print == fingerprint(filters)).then(|| cursor.parse().ok()).flatten()
}

fn fingerprint(filters: &str) -> String {
    hex::encode(&Sha256::digest(filters)[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_continues_its_own_query_and_no_other() {
        let mut violations = Violations::new();
        let page = Page::read(0, &token(41, "state=1"), "state=1", &mut violations);
        assert_eq!(page, Page { size: 100, after: Some(41) });
        assert!(violations.is_empty());

        Page::read(0, &token(41, "state=1"), "state=2", &mut violations);
        assert!(!violations.is_empty());
    }

    #[test]
    fn a_page_is_never_larger_than_the_limit() {
        let mut violations = Violations::new();
        let page = Page::read(1_001, "", "", &mut violations);
        assert_eq!(page.size, 1_000);
        assert!(!violations.is_empty());
    }
}
