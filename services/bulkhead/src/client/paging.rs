//! Lists that come in pages.

use clap::Args;

use super::{Client, ClientError};

/// Most rows that a service gives at once.
const PAGE_SIZE_MAX: u32 = 1_000;

/// How many rows of a list are shown.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Limit {
    /// Show at most this many.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl Limit {
    /// Asks for pages, by size and token, until there are no more or enough. Returns the rows and the token of
    /// the next page, empty when there is none.
    pub(crate) async fn collect<T>(
        self,
        mut page: impl AsyncFnMut(u32, String) -> Result<(Vec<T>, String), ClientError>,
    ) -> Result<(Vec<T>, String), ClientError> {
        let (mut rows, mut token) = (Vec::new(), String::new());
        loop {
            let (more, next) = page(self.missing(rows.len()).min(PAGE_SIZE_MAX), token).await?;
            rows.extend(more);
            if next.is_empty() || self.missing(rows.len()) == 0 {
                return Ok((rows, next));
            }
            token = next;
        }
    }

    fn missing(self, have: usize) -> u32 {
        self.limit.saturating_sub(u32::try_from(have).unwrap_or(u32::MAX))
    }

    /// Says, beside a list for people, that it is empty or not all.
    pub(crate) fn remark(self, client: &Client, rows: usize, next_page_token: &str) {
        if rows == 0 && !client.output.json {
            client.output.remark("There are none.");
        }
        if !next_page_token.is_empty() {
            client.output.remark(&format!("There are more than these {rows}: raise --limit."));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects from a list of `there` rows that comes in pages of at most `page_max`.
    async fn collected(limit: u32, there: u32, page_max: u32) -> (Vec<u32>, String) {
        let page = async |size: u32, token: String| {
            let from: u32 = token.parse().unwrap_or(0);
            let to = (from + size.min(page_max)).min(there);
            Ok(((from..to).collect(), if to < there { to.to_string() } else { String::new() }))
        };
        Limit { limit }.collect(page).await.unwrap()
    }

    #[tokio::test]
    async fn pages_are_followed_up_to_the_limit() {
        assert_eq!(collected(50, 7, 3).await, ((0..7).collect(), String::new()));
        assert_eq!(collected(5, 7, 3).await, ((0..5).collect(), "5".to_owned()));
        assert_eq!(collected(7, 7, 3).await, ((0..7).collect(), String::new()));
        assert_eq!(collected(2_500, 3_000, 5_000).await, ((0..2_500).collect(), "2500".to_owned()));
        assert_eq!(collected(1, 0, 3).await, (Vec::new(), String::new()));
    }
}
