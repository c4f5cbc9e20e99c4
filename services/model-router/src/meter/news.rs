//! What is told of budgets: an event and a line in the log for each mark that was passed.

use bulkhead_outbox::EventDraft;
use jiff::Timestamp;
use serde_json::json;

use super::Caller;
use crate::ledger::account::Passed;
use crate::ledger::{News, Notice};

/// What has to be told of budgets whose marks were passed.
pub(super) fn events(notices: Vec<Notice>, caller: &Caller, now: Timestamp) -> Vec<News> {
    let news = |notice: Notice| {
        let event = event(&notice, caller, now);
        News { key: notice.key, passed: notice.passed, start: notice.period.start, event }
    };
    notices.into_iter().map(news).collect()
}

fn event(notice: &Notice, caller: &Caller, now: Timestamp) -> EventDraft {
    let (kind, outcome) = match notice.passed {
        Passed::Alert => ("budget.alerted", "alerted"),
        Passed::Stop => ("budget.exhausted", "exhausted"),
    };
    tracing::warn!(
        budget = notice.key.budget,
        tenant = notice.key.tenant,
        session_id = notice.key.session_id,
        spent_usd_micros = notice.spent,
        outcome,
        "a mark of a budget is passed"
    );
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    EventDraft::new(kind, now, &caller.principal)
        .session(&notice.key.session_id)
        .subject(&notice.key.budget)
        .outcome(outcome)
        .attributes(json!({
            "budget": notice.key.budget,
            "spent_usd_micros": notice.spent,
            "alert_usd_micros": notice.marks.alert,
            "stop_usd_micros": notice.marks.stop,
            "period_start_time": time(notice.period.start),
            "period_end_time": time(notice.period.end),
        }))
}
