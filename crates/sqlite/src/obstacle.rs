//! What an error of SQLite means for a process that cannot do without the store.

use std::error::Error;

use bulkhead_exit::{Exit, Obstacle};
use sqlx::migrate::MigrateError;

use crate::OpenError;

/// Primary result codes (<https://sqlite.org/rescode.html>).
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const CORRUPT: u32 = 11;
const NOT_A_DATABASE: u32 = 26;

/// How a process ends because of an error, if SQLite is among its causes.
#[must_use]
pub fn exit_of(error: &(dyn Error + 'static)) -> Option<Exit> {
    error.downcast_ref::<sqlx::Error>().map(exit).or_else(|| exit_of(error.source()?))
}

fn exit(error: &sqlx::Error) -> Exit {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    // An extended code has the primary one in its last byte.
    match code.map(|code| code & 0xff) {
        Some(CORRUPT | NOT_A_DATABASE) => Exit::Damaged,
        Some(BUSY | LOCKED) => Exit::Taken,
        _ => Exit::Unusable,
    }
}

impl From<OpenError> for Obstacle {
    fn from(error: OpenError) -> Self {
        let exit = match &error {
            OpenError::Folder { .. } => Exit::Unusable,
            OpenError::InUse { .. } => Exit::Taken,
            OpenError::Damaged { .. } => Exit::Damaged,
            OpenError::Open { source, .. } => exit(source),
            OpenError::Migrate { source, .. } => match source {
                MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => exit(source),
                // Its schema is none that this program knows.
                _ => Exit::Damaged,
            },
        };
        Self::new(exit, error)
    }
}
