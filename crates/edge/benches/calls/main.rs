//! What the edge costs a call: a handler that does nothing behind the whole stack (request id, trace, identity,
//! authorisation, deadline, metrics and logs) against the same handler behind a bare tonic server.
//!
//! Both run as processes of their own; this one is the load. Rounds alternate between them, so that what else
//! the machine does falls on both, and the figures to go by are differences and ratios of medians.
//!
//! ```sh
//! cargo bench --package bulkhead-edge --bench calls             # the table of docs/benchmarks.md
//! cargo bench --package bulkhead-edge --bench calls -- --quick  # whether it runs, not how fast
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod child;
mod collector;
mod load;
mod report;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::child::{Child, Kind};
use crate::collector::Collector;
use crate::load::{Round, measure};
use crate::report::{Row, print};

/// Callers at once.
const CALLERS: [usize; 3] = [1, 16, 64];

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// One short round each.
    #[arg(long)]
    quick: bool,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves, as the process that is measured.
    Serve { kind: Kind },
}

/// How long is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rounds: usize,
    round: Duration,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Command::Serve { kind }) = arguments.command {
        return Ok(serve::serve(kind));
    }
    let plan = if arguments.quick {
        Plan { rounds: 1, round: Duration::from_millis(200) }
    } else {
        Plan { rounds: 9, round: Duration::from_secs(1) }
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(run(plan))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(plan: Plan) -> anyhow::Result<()> {
    println!("A call through the edge against a bare tonic echo; {plan:?}, medians.\n");
    let rows =
        compare(plan, Child::start(Kind::Bare, None).await?, Child::start(Kind::Edge, None).await?).await?;
    print("bare tonic", "edge", &rows);

    for collector in Collector::ALL {
        let held = collector.start().await?;
        let without = Child::start(Kind::Edge, None).await?;
        let with = Child::start(Kind::Edge, Some(&held.endpoint)).await?;
        println!("\nThe edge without a collector against the edge with one that {collector}:\n");
        print("without", "with", &compare(plan, without, with).await?);
    }
    Ok(())
}

/// Loads two processes in turn.
async fn compare(plan: Plan, mut base: Child, mut tried: Child) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for callers in CALLERS {
        // What warms caches and connections is not counted.
        measure(&mut base, callers, plan.round / 4).await?;
        measure(&mut tried, callers, plan.round / 4).await?;
        let (mut of_base, mut of_tried): (Vec<Round>, Vec<Round>) = Default::default();
        for _ in 0..plan.rounds {
            of_base.push(measure(&mut base, callers, plan.round).await?);
            of_tried.push(measure(&mut tried, callers, plan.round).await?);
        }
        rows.push(Row::of(callers, of_base, of_tried));
    }
    Ok(rows)
}
