//! What a service costs before anybody calls it: the time from its start to `/readyz` saying yes, and the memory it
//! then holds. The baseline is the same program doing nothing (`bulkhead --version`).
//!
//! ```sh
//! cargo bench --package bulkhead --bench processes             # the table of docs/benchmarks.md
//! cargo bench --package bulkhead --bench processes -- --quick  # whether it runs, not how fast
//! deploy/build-static dist && cargo bench --package bulkhead --bench processes -- --programs "$PWD/dist"
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};

const SERVICES: [&str; 4] = ["model-router", "tool-executor", "approval", "audit"];
/// A service that takes longer does not start.
const START_BOUND: Duration = Duration::from_secs(30);
/// Memory counts once it has not grown for this long.
const SETTLED: Duration = Duration::from_millis(500);

#[derive(Debug, Parser)]
struct Arguments {
    /// One start each.
    #[arg(long)]
    quick: bool,
    /// A folder with `bulkhead` and the services' own programs, as `deploy/build-static` makes it. Without it the one
    /// `bulkhead` program is each of them.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One start of one service.
#[derive(Debug, Clone, Copy)]
struct Start {
    ready: Duration,
    resident_kib: u64,
    /// Of that, what no other process could share.
    anonymous_kib: u64,
    /// Of that, what is mapped from the program's file and can be read again.
    file_kib: u64,
}

fn main() -> anyhow::Result<()> {
    let Arguments { quick, programs, .. } = Arguments::parse();
    let rounds = if quick { 1 } else { 11 };
    let folder = tempfile::tempdir()?;
    let programs = programs.as_deref();
    first_start(bulkhead(programs), folder.path())?;
    println!("Medians of {rounds} starts on existing data.\n");
    println!(
        "| process | start to ready | resident | of it anonymous | of the file |\n|---|---:|---:|---:|---:|"
    );
    let version =
        middle((0..rounds).map(|_| version(bulkhead(programs))).collect::<anyhow::Result<Vec<_>>>()?);
    println!("| `bulkhead --version` | {} | | | |", millis(version));
    for service in SERVICES {
        let start = |_| start(program(service, programs), service, folder.path());
        let starts = (0..rounds).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        let of = |figure: fn(&Start) -> u64| middle(starts.iter().map(figure).collect());
        println!(
            "| {service} | {} | {} | {} | {} |",
            millis(middle(starts.iter().map(|start| start.ready).collect())),
            mib(of(|start| start.resident_kib)),
            mib(of(|start| start.anonymous_kib)),
            mib(of(|start| start.file_kib)),
        );
    }
    Ok(())
}

/// Makes keys, tokens, configuration and stores the way a user does.
fn first_start(mut bulkhead: Command, folder: &Path) -> anyhow::Result<()> {
    let mut up = bulkhead
        .args(["up", "--simulate", "--port-base", "0", "--data"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = up.stderr.take().context("standard error is piped")?;
    let came_up = wait_for_line(said, "Bulkhead is up.");
    kill_process(Pid::from_child(&up), Signal::INT)?;
    up.wait()?;
    came_up
}

fn wait_for_line(said: ChildStderr, wanted: &str) -> anyhow::Result<()> {
    let mut all = String::new();
    for line in BufReader::new(said).lines() {
        let line = line?;
        if line.contains(wanted) {
            return Ok(());
        }
        all.push_str(&line);
        all.push('\n');
    }
    anyhow::bail!("the stack did not come up:\n{all}")
}

fn version(mut bulkhead: Command) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let status = bulkhead.arg("--version").stdout(Stdio::null()).status()?;
    ensure!(status.success(), "--version failed");
    Ok(started.elapsed())
}

/// The command.
fn bulkhead(programs: Option<&Path>) -> Command {
    programs.map_or_else(
        || Command::new(env!("CARGO_BIN_EXE_bulkhead")),
        |folder| Command::new(folder.join("bulkhead")),
    )
}

/// The service's own program, or `bulkhead serve`.
fn program(service: &str, programs: Option<&Path>) -> Command {
    match programs {
        Some(folder) => Command::new(folder.join(service)),
        None => {
            let mut command = bulkhead(None);
            command.args(["serve", service]);
            command
        }
    }
}

fn start(mut program: Command, service: &str, folder: &Path) -> anyhow::Result<Start> {
    let started = Instant::now();
    let mut process = program
        .arg("--config")
        .arg(folder.join(configuration(service)))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let measured = watch(&mut process, started);
    // With SIGKILL a store would have something to recover at the next start.
    kill_process(Pid::from_child(&process), Signal::TERM)?;
    process.wait()?;
    measured.with_context(|| format!("{service} could not be measured"))
}

/// Without real models the router has the configuration that `--simulate` writes.
fn configuration(service: &str) -> &'static str {
    if service == "model-router" { "simulated-models.toml" } else { "bulkhead.toml" }
}

fn watch(process: &mut Child, started: Instant) -> anyhow::Result<Start> {
    let stdout = process.stdout.take().context("standard output is piped")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let line: serde_json::Value = serde_json::from_str(&line).context("it did not announce its address")?;
    let address: SocketAddr = line["listening"].as_str().context("no address announced")?.parse()?;
    while !is_ready(address)? {
        ensure!(started.elapsed() < START_BOUND, "it did not become ready");
        std::thread::yield_now();
    }
    let ready = started.elapsed();
    let [resident_kib, anonymous_kib, file_kib] = settled_memory(process.id())?;
    Ok(Start { ready, resident_kib, anonymous_kib, file_kib })
}

fn is_ready(address: SocketAddr) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// Memory after it has stopped changing.
fn settled_memory(pid: u32) -> anyhow::Result<[u64; 3]> {
    let (mut last, mut since) = (memory(pid)?, Instant::now());
    while since.elapsed() < SETTLED {
        std::thread::park_timeout(Duration::from_millis(50));
        let now = memory(pid)?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(last)
}

/// What is resident, anonymous, and of files, in KiB.
fn memory(pid: u32) -> anyhow::Result<[u64; 3]> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let figure = line.and_then(|line| line.split_whitespace().next());
        Ok(figure.with_context(|| format!("the kernel does not tell {name}"))?.parse()?)
    };
    Ok([field("VmRSS:")?, field("RssAnon:")?, field("RssFile:")?])
}

fn middle<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

fn millis(span: Duration) -> String {
    format!("{:.0} ms", span.as_secs_f64() * 1e3)
}

fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}
