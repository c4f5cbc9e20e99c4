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
mod house;
mod load;
mod report;
mod secure;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::child::{Child, Kind, Transport};
use crate::collector::Collector;
use crate::house::House;
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
    Serve { kind: Kind, transport: Transport, folder: PathBuf },
}

/// How long is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rounds: usize,
    round: Duration,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Command::Serve { kind, transport, folder }) = arguments.command {
        return Ok(serve::serve(kind, transport, House::at(&folder)));
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
    let folder = tempfile::tempdir()?;
    let house = House::furnish(folder.path())?;
    let (token, jwt) = (house.token(), house.jwt()?);
    let edge = (Kind::Edge, Transport::Plaintext);

    for (transport, name) in [(Transport::Plaintext, "plaintext"), (Transport::Tls, "TLS")] {
        println!("A call through the edge against a bare tonic echo, both over {name}; {plan:?}, medians.\n");
        let bare = Child::start(Kind::Bare, transport, &house, None).await?;
        let edge = Child::start(Kind::Edge, transport, &house, None).await?;
        print("bare tonic", "edge", &compare(plan, Side(&bare, &token), Side(&edge, &token)).await?);
        println!();
    }

    println!("The edge called with a static token against the edge called with a JWT:\n");
    let served = Child::start(edge.0, edge.1, &house, None).await?;
    print("static", "JWT", &compare(plan, Side(&served, &token), Side(&served, &jwt)).await?);

    for collector in Collector::ALL {
        let held = collector.start().await?;
        let without = Child::start(edge.0, edge.1, &house, None).await?;
        let with = Child::start(edge.0, edge.1, &house, Some(&held.endpoint)).await?;
        println!("\nThe edge without a collector against the edge with one that {collector}:\n");
        print("without", "with", &compare(plan, Side(&without, &token), Side(&with, &token)).await?);
    }
    Ok(())
}

/// A server, and the token that it is called with.
#[derive(Debug, Clone, Copy)]
struct Side<'a>(&'a Child, &'a str);

impl Side<'_> {
    async fn measure(self, callers: usize, during: Duration) -> anyhow::Result<Round> {
        measure(self.0, self.1, callers, during).await
    }
}

/// Loads two servers in turn.
async fn compare(plan: Plan, base: Side<'_>, tried: Side<'_>) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for callers in CALLERS {
        // What warms caches and connections is not counted.
        base.measure(callers, plan.round / 4).await?;
        tried.measure(callers, plan.round / 4).await?;
        let (mut of_base, mut of_tried): (Vec<Round>, Vec<Round>) = Default::default();
        for _ in 0..plan.rounds {
            of_base.push(base.measure(callers, plan.round).await?);
            of_tried.push(tried.measure(callers, plan.round).await?);
        }
        rows.push(Row::of(callers, of_base, of_tried));
    }
    Ok(rows)
}
