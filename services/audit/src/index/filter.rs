//! Which lines a query wants.

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::{Index, int};

/// Every part that is set must match. Empty text and absent times match everything; the tenant always
/// counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Whose events.
    pub tenant: String,
    /// Events at or after it.
    pub start: Option<Timestamp>,
    /// Events before it.
    pub end: Option<Timestamp>,
    /// The kind, or its beginning when it ends in a dot.
    pub kind: String,
    /// The principal's name.
    pub principal_name: String,
    /// The session.
    pub session_id: String,
    /// The tool.
    pub tool: String,
    /// The outcome.
    pub outcome: String,
    /// The trace.
    pub trace_id: String,
    /// The subject.
    pub subject_id: String,
    /// Which end comes first.
    pub order: Order,
}

/// Which way a query goes through the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// In the order of the log.
    #[default]
    OldestFirst,
    /// Backwards.
    NewestFirst,
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index of the leaf.
    pub sequence: u64,
    /// Whose file.
    pub day: Date,
    /// Bytes before it.
    pub offset: u64,
    /// Bytes of the line without its newline.
    pub length: u64,
}

impl Index {
    /// The places of matching lines that follow the leaf `after` in the order of the filter.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn find(&self, filter: &Filter, after: Option<u64>, limit: u32) -> sqlx::Result<Vec<Place>> {
        let mut query = filter.query(after, limit);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(place).collect()
    }
}

impl Filter {
    fn query(&self, after: Option<u64>, limit: u32) -> QueryBuilder<Sqlite> {
        let (beyond, before_first, direction) = match self.order {
            Order::OldestFirst => (" > ", -1, "ASC"),
            Order::NewestFirst => (" < ", i64::MAX, "DESC"),
        };
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT sequence, day, offset_bytes, length_bytes FROM events WHERE sequence",
        );
        query.push(beyond).push_bind(after.map_or(before_first, int));
        query.push(" AND tenant = ").push_bind(self.tenant.clone());
        let exact = [
            (" AND principal_name = ", &self.principal_name),
            (" AND session_id = ", &self.session_id),
            (" AND tool = ", &self.tool),
            (" AND outcome = ", &self.outcome),
            (" AND trace_id = ", &self.trace_id),
            (" AND subject_id = ", &self.subject_id),
        ];
        for (condition, value) in exact.into_iter().filter(|(_, value)| !value.is_empty()) {
            query.push(condition).push_bind(value.clone());
        }
        self.push_kind(&mut query);
        self.push_times(&mut query);
        query.push(" ORDER BY sequence ").push(direction).push(" LIMIT ").push_bind(i64::from(limit));
        query
    }

    fn push_kind(&self, query: &mut QueryBuilder<Sqlite>) {
        match self.kind.strip_suffix('.') {
            // In ASCII the slash follows the dot, so this is every kind that begins with the prefix.
            Some(prefix) => {
                query.push(" AND kind >= ").push_bind(self.kind.clone());
                query.push(" AND kind < ").push_bind(format!("{prefix}/"));
            }
            None if self.kind.is_empty() => {}
            None => {
                query.push(" AND kind = ").push_bind(self.kind.clone());
            }
        }
    }

    fn push_times(&self, query: &mut QueryBuilder<Sqlite>) {
        for (condition, time) in
            [(" AND (time_s, time_ns) >= (", self.start), (" AND (time_s, time_ns) < (", self.end)]
        {
            if let Some(time) = time {
                query.push(condition).push_bind(time.as_second());
                query.push(", ").push_bind(time.subsec_nanosecond()).push(")");
            }
        }
    }
}

/// A row's `sequence`, `day`, `offset_bytes` and `length_bytes`.
pub(super) fn place(row: &SqliteRow) -> sqlx::Result<Place> {
    let unsigned = |column: &str| {
        let number: i64 = row.try_get(column)?;
        u64::try_from(number).map_err(|error| sqlx::Error::Decode(Box::new(error)))
    };
    let day = row.try_get::<&str, _>("day")?;
    Ok(Place {
        sequence: unsigned("sequence")?,
        day: day.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        offset: unsigned("offset_bytes")?,
        length: unsigned("length_bytes")?,
    })
}
