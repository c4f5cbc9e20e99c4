//! Rows to types and back.

use std::fmt::Display;

use bulkhead_grant::SignedGrant;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::PENDING;
use crate::approval::{Approval, ApprovalId, Decision, Outcome, Plan, Question, Settlement, Vote};

/// The approval of a row of `approvals`, without its votes and its grant.
pub(super) fn approval(row: &SqliteRow) -> sqlx::Result<Approval> {
    let question = Question {
        requested_by: json(row, "requested_by")?,
        on_behalf_of: json(row, "on_behalf_of")?,
        plan: Plan::stored(row.try_get("plan_json")?, row.try_get("plan_digest")?, row.try_get("tool")?),
        requirements: json(row, "requirements")?,
        session_id: row.try_get("session_id")?,
        traceparent: row.try_get("traceparent")?,
        create_time: time(row, "create_time_ms")?,
        expire_time: time(row, "expire_time_ms")?,
    };
    Ok(Approval {
        id: id(row)?,
        revision: revision(row)?,
        question,
        votes: Vec::new(),
        settlement: settlement(row)?,
        grant: None,
    })
}

/// The column `approval_id`.
pub(super) fn id(row: &SqliteRow) -> sqlx::Result<ApprovalId> {
    parse(row, "approval_id", str::parse)
}

/// The column `revision`.
pub(super) fn revision(row: &SqliteRow) -> sqlx::Result<u64> {
    column(row, "revision", |revision: i64| u64::try_from(revision))
}

fn settlement(row: &SqliteRow) -> sqlx::Result<Option<Settlement>> {
    let Some(outcome) = parse(row, "state", outcome)? else { return Ok(None) };
    let traceparent = row.try_get("decision_traceparent")?;
    Ok(Some(Settlement { outcome, time: time(row, "settle_time_ms")?, traceparent }))
}

fn outcome(word: &str) -> Result<Option<Outcome>, UnknownWord> {
    if word == PENDING {
        return Ok(None);
    }
    let all = [Outcome::Approved, Outcome::Denied, Outcome::Expired];
    all.into_iter().find(|outcome| outcome.as_str() == word).map(Some).ok_or(UnknownWord)
}

/// The vote of a row of `votes`.
pub(super) fn vote(row: &SqliteRow) -> sqlx::Result<Vote> {
    let decision = |word: &str| {
        let all = [Decision::Approve, Decision::Deny];
        all.into_iter().find(|decision| decision.as_str() == word).ok_or(UnknownWord)
    };
    Ok(Vote {
        voter: json(row, "voter")?,
        roles: json(row, "roles")?,
        decision: parse(row, "decision", decision)?,
        reason: row.try_get("reason")?,
        time: time(row, "time_ms")?,
    })
}

/// The grant of a row of `grants`.
pub(super) fn grant(row: &SqliteRow) -> sqlx::Result<SignedGrant> {
    Ok(SignedGrant {
        payload_json: row.try_get("payload_json")?,
        key_id: row.try_get("key_id")?,
        signature: row.try_get("signature")?,
    })
}

/// A value as the column that [`json`] reads.
pub(super) fn to_json<T: Serialize>(value: &T) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// A revision as SQLite keeps it.
pub(super) fn integer(revision: u64) -> sqlx::Result<i64> {
    i64::try_from(revision).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// A word that this version does not write.
#[derive(Debug, thiserror::Error)]
#[error("is none of the words that this version writes")]
struct UnknownWord;

fn json<T: DeserializeOwned>(row: &SqliteRow, name: &str) -> sqlx::Result<T> {
    parse(row, name, |text| serde_json::from_str(text))
}

/// Reads a column of milliseconds.
pub(super) fn time(row: &SqliteRow, name: &str) -> sqlx::Result<Timestamp> {
    column(row, name, Timestamp::from_millisecond)
}

fn parse<T, E>(row: &SqliteRow, name: &str, read: impl FnOnce(&str) -> Result<T, E>) -> sqlx::Result<T>
where
    E: Display,
{
    column(row, name, |text: String| read(&text))
}

fn column<'r, C, T, E>(
    row: &'r SqliteRow,
    name: &str,
    read: impl FnOnce(C) -> Result<T, E>,
) -> sqlx::Result<T>
where
    C: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    E: Display,
{
    let wrong =
        |error: E| sqlx::Error::ColumnDecode { index: name.to_owned(), source: error.to_string().into() };
    read(row.try_get(name)?).map_err(wrong)
}
