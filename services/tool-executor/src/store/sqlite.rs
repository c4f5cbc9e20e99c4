//! The journal on SQLite.

use bulkhead_edge::Readiness;
use bulkhead_outbox::{EventDraft, Limit, NotAcknowledged, Outbox};
use bulkhead_sqlite::{self as sqlite, Claim, Scope, Store};
use sqlx::migrate::Migrator;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Claimed, Committed, Filter, Listed, StoreError, rows};
use crate::execution::{Before, Draft, Execution, Request, State, Step, transition};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Name of the readiness condition.
const CONDITION: &str = "journal";

/// Counts the changes of the journal, for those who wait for one.
pub type Changes = watch::Receiver<u64>;

/// The journal of one executor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    store: Store,
    outbox: Outbox,
    limit: Limit,
    readiness: Readiness,
    changes: Arc<watch::Sender<u64>>,
}

/// Opens the file of the journal and brings its schema up to date.
///
/// # Errors
/// [`sqlite::OpenError`].
pub(crate) async fn open(path: &Path) -> Result<Store, sqlite::OpenError> {
    Store::open(path, &MIGRATIONS).await
}

impl Journal {
    /// Over a store and the outbox that lives in it. `limit` is the outbox's own.
    #[must_use]
    pub fn new(store: Store, outbox: Outbox, limit: Limit, readiness: Readiness) -> Self {
        Self { store, outbox, limit, readiness, changes: Arc::new(watch::Sender::new(0)) }
    }

    /// Makes a change and stores its event, in one transaction, durably.
    ///
    /// # Errors
    /// [`StoreError`]; unless it is `OutcomeUnknown`, nothing was changed.
    pub async fn commit(&self, draft: Draft, event: Option<EventDraft>) -> Result<Committed, StoreError> {
        let outbox = self.outbox.clone();
        let limit = self.limit;
        let written = self
            .store
            .writer()
            .write(move |connection| Box::pin(change(connection, outbox, limit, draft, event)))
            .await;
        self.report(&written);
        let committed = written?;
        self.outbox.wake();
        self.changes.send_modify(|count| *count += 1);
        Ok(committed)
    }

    /// Stores an event that goes with no execution.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tell(&self, event: EventDraft) -> Result<(), StoreError> {
        let outbox = self.outbox.clone();
        let limit = self.limit;
        let written = self
            .store
            .writer()
            .write(move |connection| {
                Box::pin(async move {
                    require_room(connection, limit, 1).await?;
                    outbox.enqueue(connection, event).await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await;
        self.report(&written);
        self.outbox.wake();
        written
    }

    /// Waits until the audit service has confirmed an event.
    ///
    /// # Errors
    /// [`NotAcknowledged`] when that takes longer than `bound`.
    pub async fn acknowledged(&self, event_place: i64, bound: Duration) -> Result<(), NotAcknowledged> {
        self.outbox.acknowledged(event_place, bound).await
    }

    /// What a request id means now.
    ///
    /// # Errors
    /// [`StoreError::RequestReused`] when it said something else before.
    pub async fn claim(&self, request: &Request) -> Result<Claimed, StoreError> {
        let mut connection = self.store.readers().acquire().await?;
        claimed(&mut connection, request).await
    }

    /// One execution.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, id: Uuid) -> Result<Option<Execution>, StoreError> {
        let mut connection = self.store.readers().acquire().await?;
        rows::find(&mut connection, id).await
    }

    /// Every execution in a state, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_in(&self, state: State) -> Result<Vec<Execution>, StoreError> {
        let rows = sqlx::query("SELECT record FROM executions WHERE state = ? ORDER BY seq")
            .bind(state.as_str())
            .fetch_all(self.store.readers())
            .await?;
        rows.iter().map(rows::read).collect()
    }

    /// At most `size` executions older than the cursor, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(
        &self,
        filter: &Filter,
        before: Option<u64>,
        size: u32,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new("SELECT seq, record FROM executions WHERE tenant = ");
        query.push_bind(filter.tenant.clone());
        if let Some(principal) = filter.principal.clone() {
            query.push(" AND principal = ").push_bind(principal);
        }
        if let Some(state) = filter.state {
            query.push(" AND state = ").push_bind(state.as_str());
        }
        if let Some(session) = filter.session_id.clone() {
            query.push(" AND session_id = ").push_bind(session);
        }
        if let Some(seq) = before.and_then(|seq| i64::try_from(seq).ok()) {
            query.push(" AND seq < ").push_bind(seq);
        }
        query.push(" ORDER BY seq DESC LIMIT ").push_bind(i64::from(size));
        let rows = query.build().fetch_all(self.store.readers()).await?;
        rows.iter().map(rows::read_listed).collect()
    }

    /// Follows the changes.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changes.subscribe()
    }

    fn report<T>(&self, written: &Result<T, StoreError>) {
        match written {
            Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => {
                self.readiness.unmet(CONDITION, "the journal cannot be written; see the log");
            }
            Ok(_) => self.readiness.met(CONDITION),
            Err(_) => {}
        }
    }
}

/// The whole change, inside the writer's transaction.
async fn change(
    connection: &mut SqliteConnection,
    outbox: Outbox,
    limit: Limit,
    draft: Draft,
    event: Option<EventDraft>,
) -> Result<Committed, StoreError> {
    let Draft { before, mut execution } = draft;
    if let Before::Absent(request) = &before
        && let Claimed::Seen(id) = claimed(connection, request).await?
    {
        return Ok(Committed::Replayed(id));
    }
    let was_running = matches!(before, Before::Is { state: State::Running, .. });
    if event.is_some() && !was_running {
        // An intent promises an outcome, so it needs room for both.
        let needed = if execution.state == State::Running { 2 } else { 1 };
        require_room(connection, limit, needed).await?;
    }
    if execution.state == State::Running {
        require_original(connection, &execution).await?;
    }
    execution.revision = rows::next_revision(connection, &execution.principal().tenant).await?;
    put(connection, &before, &execution).await?;
    if execution.state == State::Running && !before.is_absent() {
        use_grant(connection, &execution).await?;
    }
    if execution.state == State::Succeeded {
        mark_original_undone(connection, &execution).await?;
    }
    let event_place = match event {
        Some(event) => Some(outbox.enqueue(connection, event).await?),
        None => None,
    };
    Ok(Committed::Done { execution: Box::new(execution), event_place })
}

async fn put(
    connection: &mut SqliteConnection,
    before: &Before,
    execution: &Execution,
) -> Result<(), StoreError> {
    match before {
        Before::Absent(request) => {
            rows::insert(connection, execution).await?;
            let scope = scope(request);
            let now = execution.create_time.as_millisecond();
            let subject = execution.id.to_string();
            sqlite::record(connection, &scope, &request.payload_digest, &subject, now).await?;
        }
        Before::Is { state, revision } => {
            if !rows::update(connection, execution, *state, *revision).await? {
                return Err(StoreError::Conflict { id: execution.id });
            }
        }
    }
    Ok(())
}

async fn claimed(connection: &mut SqliteConnection, request: &Request) -> Result<Claimed, StoreError> {
    match sqlite::claim(connection, &scope(request), &request.payload_digest).await? {
        Claim::New => Ok(Claimed::New),
        Claim::Seen { subject_id } => {
            let id = subject_id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok(Claimed::Seen(id))
        }
        Claim::Reused => Err(StoreError::RequestReused),
    }
}

fn scope(request: &Request) -> Scope {
    Scope {
        tenant: request.tenant.clone(),
        principal: request.principal.clone(),
        method: request.method,
        request_id: request.request_id.to_string(),
    }
}

/// Refuses when the outbox could not hold `needed` more events beside the outcomes of all that runs.
async fn require_room(
    connection: &mut SqliteConnection,
    limit: Limit,
    needed: i64,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT COALESCE(MAX(seq) - MIN(seq) + 1, 0) FROM outbox) AS waiting, \
         (SELECT COUNT(*) FROM executions WHERE state = 'RUNNING') AS running",
    )
    .fetch_one(connection)
    .await?;
    let (waiting, running): (i64, i64) = (row.try_get("waiting")?, row.try_get("running")?);
    if waiting + running + needed > limit.0 {
        return Err(StoreError::OutboxFull { waiting });
    }
    Ok(())
}

/// An undo may start only while its original stands and no other undo of it runs.
async fn require_original(
    connection: &mut SqliteConnection,
    execution: &Execution,
) -> Result<(), StoreError> {
    let Some(id) = execution.undo_of else { return Ok(()) };
    let stands: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM executions WHERE execution_id = ?1 AND state = 'SUCCEEDED') \
         AND NOT EXISTS (SELECT 1 FROM executions WHERE undo_of = ?1 AND state = 'RUNNING')",
    )
    .bind(id.to_string())
    .fetch_one(connection)
    .await?;
    if stands { Ok(()) } else { Err(StoreError::OriginalGone { id }) }
}

/// Takes the approval's single use, in the transaction of the intent.
async fn use_grant(connection: &mut SqliteConnection, execution: &Execution) -> Result<(), StoreError> {
    let Some(approval_id) = execution.approval_id.clone() else { return Ok(()) };
    let used = sqlx::query(
        "INSERT INTO grants_used (approval_id, execution_id, use_time_ms) VALUES (?, ?, ?) \
         ON CONFLICT (approval_id) DO NOTHING",
    )
    .bind(&approval_id)
    .bind(execution.id.to_string())
    .bind(execution.update_time.as_millisecond())
    .execute(connection)
    .await?;
    if used.rows_affected() == 1 { Ok(()) } else { Err(StoreError::GrantUsed { approval_id }) }
}

/// The undo worked: what it took back is undone, in the same transaction.
async fn mark_original_undone(connection: &mut SqliteConnection, undo: &Execution) -> Result<(), StoreError> {
    let Some(id) = undo.undo_of else { return Ok(()) };
    let Some(mut original) = rows::find(connection, id).await? else {
        return Err(StoreError::OriginalGone { id });
    };
    let (state, revision) = (original.state, original.revision);
    original.state =
        transition(Some(state), Step::Undo).map_err(|_illegal| StoreError::OriginalGone { id })?;
    original.update_time = undo.update_time;
    original.revision = rows::next_revision(connection, &original.principal().tenant).await?;
    if rows::update(connection, &original, state, revision).await? {
        Ok(())
    } else {
        Err(StoreError::Conflict { id })
    }
}
