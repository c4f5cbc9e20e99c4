//! Rounds to a table.

use std::time::Duration;

use crate::call::{Shape, Way};
use crate::load::Round;

/// One way under one load: the median of each figure over the rounds.
#[derive(Debug)]
pub(crate) struct Row {
    way: Way,
    callers: usize,
    round: Round,
}

impl Row {
    pub(crate) fn of(way: Way, callers: usize, rounds: &[Round]) -> Self {
        let round = Round {
            p50: middle(rounds, |round| round.p50),
            p99: middle(rounds, |round| round.p99),
            per_second: middle_f64(rounds.iter().map(|round| round.per_second)),
            cpu: middle(rounds, |round| round.cpu),
            audit: middle(rounds, |round| round.audit),
            memory: middle(rounds, |round| round.memory),
        };
        Self { way, callers, round }
    }
}

fn middle<T: Ord>(rounds: &[Round], figure: fn(&Round) -> T) -> T {
    let mut values: Vec<T> = rounds.iter().map(figure).collect();
    values.sort_unstable();
    values.swap_remove(values.len() / 2)
}

fn middle_f64(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the head of a table in Markdown, so that docs/benchmarks.md can hold what was printed.
pub(crate) fn head(shape: Shape) {
    let until = match shape {
        Shape::Plain => "",
        Shape::Streamed => " first token",
    };
    println!(
        "| callers | way | p50{until} | added | p99{until} | added | calls/s | of the proxy's | cpu/call | of the \
         proxy's | audit's cpu/call | memory |\n|---:|---|{}",
        "---:|".repeat(10)
    );
}

/// And its rows for one number of callers.
pub(crate) fn print(rows: &[Row]) {
    let of = |way: Way| rows.iter().find(|row| row.way == way).map(|row| row.round);
    let (direct, proxy) = (of(Way::Direct), of(Way::Proxy));
    for Row { way, callers, round } in rows {
        let is_between = *way != Way::Direct;
        let added = |figure: fn(&Round) -> Duration| match &direct {
            Some(direct) if is_between => added(figure(direct), figure(round)),
            Some(_) | None => String::new(),
        };
        let against = |figure: fn(&Round) -> f64| proxy.as_ref().map(|proxy| figure(round) / figure(proxy));
        let of_calls = against(|round| round.per_second).filter(|_| is_between);
        let of_cpu = against(|round| round.cpu.as_secs_f64()).filter(|_| is_between);
        let audit = Some(round.audit).filter(|_| matches!(way, Way::Grpc | Way::Api));
        println!(
            "| {callers} | {way} | {} | {} | {} | {} | {:.0} | {} | {} | {} | {} | {} |",
            micros(round.p50),
            added(|round| round.p50),
            micros(round.p99),
            added(|round| round.p99),
            round.per_second,
            of_calls.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0)),
            micros(round.cpu),
            of_cpu.map_or_else(String::new, |times| format!("{times:.1} ×")),
            audit.map_or_else(String::new, micros),
            mib(round.memory),
        );
    }
}

fn added(base: Duration, tried: Duration) -> String {
    format!("{:+.0} µs", (tried.as_secs_f64() - base.as_secs_f64()) * 1e6)
}

fn micros(span: Duration) -> String {
    format!("{:.0} µs", span.as_secs_f64() * 1e6)
}

/// KiB as people read them.
pub(crate) fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}
