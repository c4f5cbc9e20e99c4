//! What the router costs a call, with identity, audit and tracing on: over gRPC and over `/v1/chat/completions`, plain and
//! streamed, against the model called directly, against a bare reverse proxy before it, and against the least that can
//! stand between the router's contract and the model's.
//!
//! Model, proxy, router, audit and the collector of traces are processes of their own; this one is the load. Rounds
//! alternate between the ways to the model, so that what else the machine does falls on all of them, and the figures to
//! go by are differences and ratios of medians.
//!
//! ```sh
//! cargo bench --package bulkhead --bench router             # the tables of docs/benchmarks.md
//! cargo bench --package bulkhead --bench router -- --quick  # whether it runs, not how fast
//! deploy/build-static dist && cargo bench --package bulkhead --bench router -- --programs "$PWD/dist"
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod call;
mod child;
mod gateway;
mod house;
mod load;
mod report;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::call::{Shape, Way};
use crate::house::House;
use crate::load::{Round, measure};
use crate::report::Row;

/// Callers at once.
const CALLERS: [usize; 3] = [1, 16, 64];
/// What an agent that calls a hundred times a second, which none does, calls in an hour.
const HOUR_OF_CALLS: usize = 360_000;
/// Looks at the memory meanwhile.
const LOOKS: usize = 12;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// One short round each.
    #[arg(long)]
    quick: bool,
    /// A folder with the services' own programs, as `deploy/build-static` makes it. Without it the one `bulkhead`
    /// program is each of them, and holds more memory.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Nothing is exported: spans and log lines are made, and no collector is told.
    #[arg(long)]
    no_collector: bool,
    /// Calls over this way alone, such as for a profile: direct, proxy, gateway, grpc or api.
    #[arg(long)]
    only: Option<Way>,
    /// Of these: plain or streamed.
    #[arg(long)]
    shape: Option<Shape>,
    /// With so many callers.
    #[arg(long)]
    callers: Option<usize>,
    /// Leaves the memory out.
    #[arg(long)]
    no_memory: bool,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The model.
    Simulator,
    /// The proxy before it.
    Proxy { upstream: SocketAddr },
    /// What serves the router's contract and does nothing else.
    Gateway { upstream: SocketAddr },
    /// Takes spans, and forgets them.
    Collector,
}

/// How long is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rounds: usize,
    round: Duration,
    /// Calls while the memory is watched.
    calls: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.command {
        Some(Command::Simulator) => runtime.block_on(serve::simulator())?,
        Some(Command::Proxy { upstream }) => runtime.block_on(serve::proxy(upstream))?,
        Some(Command::Gateway { upstream }) => runtime.block_on(serve::gateway(upstream))?,
        Some(Command::Collector) => runtime.block_on(serve::collector())?,
        None => runtime.block_on(run(arguments))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let plan = if arguments.quick {
        Plan { rounds: 1, round: Duration::from_millis(200), calls: 1_000 }
    } else {
        Plan { rounds: 7, round: Duration::from_secs(1), calls: HOUR_OF_CALLS }
    };
    let house = House::open(arguments.programs.as_deref(), !arguments.no_collector).await?;
    let idle = house.settled_memory().await?;
    let ways = arguments.only.map_or_else(|| Way::ALL.to_vec(), |way| vec![way]);
    println!("Medians of {} rounds of {:?}.", plan.rounds, plan.round);
    let mut busiest = idle;
    for shape in Shape::ALL.into_iter().filter(|shape| arguments.shape.is_none_or(|only| only == *shape)) {
        let ways: Vec<_> = ways.iter().copied().filter(|way| way.has(shape)).collect();
        if ways.is_empty() {
            continue;
        }
        println!("\n{shape}:\n");
        report::head(shape);
        for callers in CALLERS.into_iter().filter(|count| arguments.callers.is_none_or(|only| only == *count))
        {
            let rows = compare(&house, plan, shape, callers, &ways).await?;
            report::print(&rows);
            busiest = busiest.max(house.router.memory()?);
        }
    }
    println!(
        "\nMemory of the router: {} before the first call, {} at most.",
        report::mib(idle),
        report::mib(busiest)
    );
    if !arguments.no_memory {
        watch_memory(&house, plan.calls).await?;
    }
    Ok(())
}

/// Every way to the model in turn.
async fn compare(
    house: &House,
    plan: Plan,
    shape: Shape,
    callers: usize,
    ways: &[Way],
) -> anyhow::Result<Vec<Row>> {
    // What warms caches and connections is not counted.
    for way in ways {
        measure(house, *way, shape, callers, plan.round / 4).await?;
    }
    let mut rounds: Vec<Vec<Round>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        for (way, rounds) in ways.iter().zip(&mut rounds) {
            rounds.push(measure(house, *way, shape, callers, plan.round).await?);
        }
    }
    Ok(ways.iter().zip(rounds).map(|(way, rounds)| Row::of(*way, callers, &rounds)).collect())
}

/// Whether the router holds more and more.
async fn watch_memory(house: &House, calls: usize) -> anyhow::Result<()> {
    println!(
        "\nMemory of the router over {calls} calls by 16 callers, a quarter of them each plain and streamed, \
         over gRPC and over the API:\n"
    );
    let each = calls / LOOKS / 4;
    let mut seen = Vec::new();
    for _ in 0..LOOKS {
        for way in [Way::Grpc, Way::Api] {
            for shape in Shape::ALL {
                load::calls(house, way, shape, 16, each).await?;
            }
        }
        seen.push(report::mib(house.router.memory()?));
    }
    println!("{}", seen.join(", "));
    Ok(())
}
