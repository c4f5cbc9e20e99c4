//! Rounds to a table.

use std::time::Duration;

use crate::load::Round;

/// Two servers under the same load.
#[derive(Debug)]
pub(crate) struct Row {
    callers: usize,
    base: Round,
    tried: Round,
}

impl Row {
    /// Takes the median of each figure over the rounds.
    pub(crate) fn of(callers: usize, base: Vec<Round>, tried: Vec<Round>) -> Self {
        Self { callers, base: median(&base), tried: median(&tried) }
    }
}

fn median(rounds: &[Round]) -> Round {
    Round {
        p50: middle(rounds.iter().map(|round| round.p50)),
        p99: middle(rounds.iter().map(|round| round.p99)),
        per_second: middle_f64(rounds.iter().map(|round| round.per_second)),
        cpu: middle(rounds.iter().map(|round| round.cpu)),
    }
}

fn middle(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

fn middle_f64(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the table in Markdown, so that docs/benchmarks.md can hold what was printed.
pub(crate) fn print(base: &str, tried: &str, rows: &[Row]) {
    println!(
        "| callers | p50 {base} | p50 {tried} | added p50 | p99 {base} | p99 {tried} | calls/s {base} | \
         calls/s {tried} | throughput | cpu/call {base} | cpu/call {tried} |"
    );
    println!("|{}", "---:|".repeat(11));
    for Row { callers, base, tried } in rows {
        println!(
            "| {callers} | {} | {} | {:+.0} µs | {} | {} | {:.0} | {:.0} | {:.0} % | {} | {} |",
            micros(base.p50),
            micros(tried.p50),
            (tried.p50.as_secs_f64() - base.p50.as_secs_f64()) * 1e6,
            micros(base.p99),
            micros(tried.p99),
            base.per_second,
            tried.per_second,
            100.0 * tried.per_second / base.per_second,
            micros(base.cpu),
            micros(tried.cpu),
        );
    }
}

fn micros(span: Duration) -> String {
    format!("{:.0} µs", span.as_secs_f64() * 1e6)
}
