//! `[[model-router.budget]]`.

use bulkhead_edge::settings::Table;

use super::{ModelConfig, name};
use crate::ledger::account::Marks;
use crate::ledger::period::Period;
use crate::ledger::{BudgetConfig, BudgetScope};
use crate::price::COST_USD_MICROS_MAX;

impl BudgetConfig {
    /// Reads one `[[model-router.budget]]`; `seen` are the names of the budgets before it.
    pub(super) fn read(
        table: &mut Table<'_>,
        models: &[ModelConfig],
        seen: &mut Vec<String>,
    ) -> Option<Self> {
        let name = name(table, seen, "What errors and events call the budget; unique.");
        let scope = table.choice(
            "scope",
            [("tenant", BudgetScope::Tenant), ("session", BudgetScope::Session)],
            "Who spends together: all callers of a tenant, or all calls of a session.",
        );
        let tenant = table.optional("tenant", "Only this tenant; none: each tenant for itself.");
        let period = table.choice(
            "period",
            [("day", Period::Day), ("month", Period::Month), ("none", Period::Endless)],
            "When counting begins anew, at midnight in UTC; none: never.",
        );
        let mut amount = |key, meaning| table.optional_number(key, 1..=COST_USD_MICROS_MAX, meaning);
        let marks = Marks {
            alert: amount(
                "alert_usd_micros",
                "Above it an event is written, once in a period. In millionths of a US dollar.",
            ),
            stop: amount(
                "stop_usd_micros",
                "No call is begun that may lead above it. In millionths of a US dollar: 5000000 is five dollars.",
            ),
        };
        if marks.alert.is_none() && marks.stop.is_none() {
            table.mistake("stop_usd_micros", "is missing; a budget has it or alert_usd_micros, or both");
        }
        let unpriced = models.iter().filter(|model| !model.local && model.terms.price.is_none());
        let unpriced: Vec<&str> = unpriced.map(|model| model.name.as_str()).collect();
        if !unpriced.is_empty() {
            let right = "counts nothing without prices; these models have none:";
            table.mistake("name", format!("{right} {}", unpriced.join(", ")));
        }
        Some(Self { name: name?, scope: scope?, tenant, period: period?, marks })
    }
}
