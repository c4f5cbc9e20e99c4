//! `bulkhead budgets`: what was spent, and what may be.

use std::process::ExitCode;

use bulkhead_proto::router::v1::{Budget, ListBudgetsRequest, ListBudgetsResponse};
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::models::connect;
use super::table::Table;
use super::{Client, ClientArguments, ClientError, Exit, Limit, exit, money, run, time};

/// See the help of each.
#[derive(Debug, Subcommand)]
pub(crate) enum BudgetsCommand {
    /// List the budgets of the caller's tenant, and what was spent of each in its period.
    ///
    /// KEPT is what calls that are open may still spend. Above ALERT somebody is told; no model is called that may lead
    /// above STOP. Each router counts for itself.
    ///
    /// Example: bulkhead budgets ls --session s1
    #[command(after_long_help = exit::HELP)]
    Ls(Box<LsArguments>),
}

/// Arguments of `bulkhead budgets ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    /// Only what this session spent.
    #[arg(long, value_name = "SESSION", default_value = "")]
    session: String,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    client: ClientArguments,
}

impl BudgetsCommand {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        let Self::Ls(arguments) = self;
        let LsArguments { session, limit, client } = *arguments;
        run(client, async |client| list(client, &session, limit).await)
    }
}

async fn list(client: &Client, session: &str, limit: Limit) -> Result<Exit, ClientError> {
    let router = connect(client)?;
    let page = async |page_size, page_token| {
        let session_id = session.to_owned();
        let request = client.timed(ListBudgetsRequest { page_size, page_token, session_id });
        let answer = client.read("list budgets", router.clone().list_budgets(request)).await?;
        Ok((answer.budgets, answer.next_page_token))
    };
    let (budgets, next_page_token) = limit.collect(page).await?;
    let all = ListBudgetsResponse { budgets, next_page_token };
    client.show(&all, || table(&all.budgets, client.now).render(client.output.columns()))?;
    limit.remark(client, all.budgets.len(), &all.next_page_token);
    Ok(Exit::Done)
}

fn table(budgets: &[Budget], now: Timestamp) -> Table<7> {
    let mut table = Table::new(["BUDGET", "SESSION", "SPENT", "KEPT", "ALERT", "STOP", "BEGINS ANEW"]);
    for budget in budgets {
        let mark = |micros| if micros == 0 { "-".to_owned() } else { money::dollars(micros) };
        let session = if budget.session_id.is_empty() { "-" } else { &budget.session_id };
        table.row([
            budget.name.clone(),
            session.to_owned(),
            money::dollars(budget.spent_usd_micros),
            money::dollars(budget.reserved_usd_micros),
            mark(budget.alert_usd_micros),
            mark(budget.stop_usd_micros),
            time::brief(budget.period_end_time.as_ref(), now),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_line_with_its_amounts_in_dollars() {
        let now: Timestamp = "2026-05-09T12:00:00Z".parse().expect("a time");
        let month = prost_types::Timestamp { seconds: now.as_second() + 3_600, nanos: 0 };
        let budgets = [
            Budget {
                name: "month".into(),
                spent_usd_micros: 1_250_000,
                reserved_usd_micros: 30,
                alert_usd_micros: 50_000_000,
                stop_usd_micros: 100_000_000,
                period_end_time: Some(month),
                ..Budget::default()
            },
            Budget { name: "session".into(), session_id: "s\u{1b}1".into(), ..Budget::default() },
        ];
        let shown = anstream::adapter::strip_str(&table(&budgets, now).render(None)).to_string();
        let cells: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        let month =
            ["month", "-", "$1.250000", "$0.000030", "$50.000000", "$100.000000", "13:00:00Z, in 1 h"];
        assert_eq!(cells[1], month);
        assert_eq!(cells[2], ["session", "s<U+001B>1", "$0.000000", "$0.000000", "-", "-", "-"]);
    }
}
