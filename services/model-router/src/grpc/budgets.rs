//! Budgets as messages.

use bulkhead_edge::page::{self, Page};
use bulkhead_edge::{Violations, wire};
use bulkhead_proto::router::v1 as pb;
use tonic::Status;

use super::cut;
use crate::ledger::Statement;

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) session_id: String,
    page: Page,
}

/// A ListBudgets request.
pub(super) fn question(request: pb::ListBudgetsRequest) -> Result<Question, Status> {
    let pb::ListBudgetsRequest { page_size, page_token, session_id } = request;
    let mut violations = Violations::new();
    violations.context_id("session_id", &session_id);
    let page = Page::read(page_size, &page_token, &filters(&session_id), &mut violations);
    Ok(violations.finish(Some(Question { session_id, page }))?)
}

/// The page of a sorted list. The cursor is the number of budgets before it.
pub(super) fn answer(all: Vec<Statement>, question: &Question) -> pb::ListBudgetsResponse {
    let (rows, next) = cut(all, question.page);
    pb::ListBudgetsResponse {
        budgets: rows.into_iter().map(budget).collect(),
        next_page_token: next
            .map_or_else(String::new, |cursor| page::token(cursor, &filters(&question.session_id))),
    }
}

fn filters(session_id: &str) -> String {
    format!("session_id={session_id}")
}

fn budget(statement: Statement) -> pb::Budget {
    let Statement { key, spent, reserved, marks, period } = statement;
    pb::Budget {
        name: key.budget,
        session_id: key.session_id,
        spent_usd_micros: spent,
        reserved_usd_micros: reserved,
        alert_usd_micros: marks.alert.unwrap_or(0),
        stop_usd_micros: marks.stop.unwrap_or(0),
        period_start_time: period.start.map(wire::timestamp),
        period_end_time: period.end.map(wire::timestamp),
    }
}
