//! The one connection that writes, opened again after a failure.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

/// Where the writer's connection sits.
///
/// SQLite ends a transaction by itself when a write inside it is refused, and the driver goes on counting it
/// as open: from then on such a connection refuses every transaction. So none is used after a failure.
#[derive(Debug)]
pub(crate) struct Seat {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
}

impl Seat {
    pub(crate) fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self { options, connection: Some(connection) }
    }

    /// The connection; a new one after [`Seat::vacate`].
    pub(crate) async fn take(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.options).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Lets go of a connection that failed, and with it of its locks.
    pub(crate) async fn vacate(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "a connection that failed did not close cleanly");
        }
    }

    /// Nothing is written any more.
    pub(crate) async fn close(mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store did not close cleanly; SQLite recovers when it is opened next");
        }
    }
}
