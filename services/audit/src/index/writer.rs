//! The writing side of the index; the appender owns it.

use sqlx::{Connection as _, QueryBuilder, Row as _, Sqlite, SqliteConnection};
use tlog_tiles::{EMPTY_HASH, Hash};
use uuid::Uuid;

use super::filter::place;
use super::{Place, Row, int};
use crate::merkle::Head;

/// Rows in one statement at most; at 15 columns well below SQLite's 32,766 parameters. A power of two, as each number of
/// rows is: so there are eight statements, which are parsed once and kept, however many events come together.
const ROWS_MAX: usize = 128;

/// The only writer of an index.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    connection: SqliteConnection,
}

impl IndexWriter {
    pub(crate) fn new(connection: SqliteConnection) -> Self {
        Self { connection }
    }

    /// The tree that the index says it covers; the empty one when it contradicts itself.
    pub(crate) async fn covered(&mut self) -> sqlx::Result<Head> {
        let empty = Head { size: 0, root: EMPTY_HASH };
        let row = sqlx::query(
            "SELECT tree_size, root_hash FROM covered \
             WHERE tree_size = (SELECT COUNT(*) FROM events) \
               AND tree_size = (SELECT COALESCE(MAX(sequence) + 1, 0) FROM events)",
        )
        .fetch_optional(&mut self.connection)
        .await?;
        let Some(row) = row else { return Ok(empty) };
        let size = u64::try_from(row.try_get::<i64, _>("tree_size")?).ok();
        let root = row.try_get::<&[u8], _>("root_hash")?.try_into().ok().map(Hash);
        Ok(size.zip(root).map_or(empty, |(size, root)| Head { size, root }))
    }

    /// Forgets everything.
    pub(crate) async fn clear(&mut self) -> sqlx::Result<()> {
        let mut transaction = self.connection.begin().await?;
        sqlx::query("DELETE FROM covered").execute(&mut *transaction).await?;
        sqlx::query("DELETE FROM events").execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// Adds rows and says that they lead to `head`, in one step. May be repeated.
    pub(crate) async fn insert(&mut self, rows: &[Row], head: Head) -> sqlx::Result<()> {
        let mut transaction = self.connection.begin().await?;
        add(&mut transaction, rows).await?;
        cover(&mut transaction, head).await?;
        transaction.commit().await
    }

    /// Adds rows of a log that is being read; [`IndexWriter::cover`] follows when it has been read.
    pub(crate) async fn add(&mut self, rows: &[Row]) -> sqlx::Result<()> {
        let mut transaction = self.connection.begin().await?;
        add(&mut transaction, rows).await?;
        transaction.commit().await
    }

    /// Says which tree the rows lead to.
    pub(crate) async fn cover(&mut self, head: Head) -> sqlx::Result<()> {
        cover(&mut self.connection, head).await
    }

    /// Where the events with these ids stand, in the order of the log; those that are not recorded do not.
    pub(crate) async fn known(&mut self, ids: &[Uuid]) -> sqlx::Result<Vec<Place>> {
        let list: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let rows = sqlx::query(
            "SELECT sequence, day, offset_bytes, length_bytes FROM events \
             WHERE event_id IN (SELECT value FROM json_each(?)) ORDER BY sequence",
        )
        .bind(serde_json::Value::from(list).to_string())
        .fetch_all(&mut self.connection)
        .await?;
        rows.iter().map(place).collect()
    }

    pub(crate) async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the index did not close cleanly; the next start checks it");
        }
    }
}

async fn add(connection: &mut SqliteConnection, rows: &[Row]) -> sqlx::Result<()> {
    let mut rest = rows;
    while let Some(power) = rest.len().checked_ilog2() {
        let (some, others) = rest.split_at(ROWS_MAX.min(1 << power));
        rest = others;
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO events (sequence, event_id, tenant, time_s, time_ns, kind, principal_name, \
             session_id, tool, outcome, trace_id, subject_id, day, offset_bytes, length_bytes) ",
        );
        insert.push_values(some, |mut values, row| {
            values
                .push_bind(int(row.sequence))
                .push_bind(row.event_id.to_string())
                .push_bind(&row.tenant)
                .push_bind(row.time.as_second())
                .push_bind(row.time.subsec_nanosecond())
                .push_bind(&row.kind)
                .push_bind(&row.principal_name)
                .push_bind(&row.session_id)
                .push_bind(&row.tool)
                .push_bind(&row.outcome)
                .push_bind(&row.trace_id)
                .push_bind(&row.subject_id)
                .push_bind(row.day.to_string())
                .push_bind(int(row.offset))
                .push_bind(int(row.length));
        });
        // A commit that failed may have happened.
        insert.push(" ON CONFLICT (sequence) DO NOTHING");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn cover(connection: &mut SqliteConnection, head: Head) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO covered (id, tree_size, root_hash) VALUES (1, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET tree_size = excluded.tree_size, root_hash = excluded.root_hash",
    )
    .bind(int(head.size))
    .bind(head.root.0.to_vec())
    .execute(connection)
    .await?;
    Ok(())
}
