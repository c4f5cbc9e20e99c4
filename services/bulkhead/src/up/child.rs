//! One child process: started, watched, started again, stopped.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_exit::Exit;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::trouble::{Trouble, last_words};

/// How long a child may take to announce its address.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a child may take to drain; a little more than the services' own bound.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// First pause before a dead child is started again; it doubles up to the limit.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between restarts.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// For people and for the log's file name.
    pub(crate) name: &'static str,
    /// Arguments of our own executable.
    pub(crate) arguments: Vec<String>,
    /// Whether later starts are told (`--listen`) to listen where the first one did: for a program that picks
    /// its own port, which others know by then.
    pub(crate) keeps_address: bool,
    /// Additional environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Where its standard error goes.
    pub(crate) log: PathBuf,
}

/// What is known of a child now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ChildState {
    /// Its process id while it runs.
    pub(crate) pid: Option<u32>,
    /// Where it listens, once announced.
    pub(crate) address: Option<SocketAddr>,
    /// How often it was started.
    pub(crate) starts: u32,
}

/// A child ended before it had announced itself.
#[derive(Debug, thiserror::Error)]
#[error("{name} did not start ({why}); {said}")]
pub(super) struct NotStarted {
    name: &'static str,
    why: String,
    said: String,
    exit: Option<Exit>,
}

impl NotStarted {
    /// How it ended; nothing after a signal, or with a code that none of ours has.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }
}

#[derive(Debug, Deserialize)]
struct Announcement {
    listening: SocketAddr,
}

/// Keeps a program running until `stop`. Ends early, with the reason, when even its first start fails.
///
/// Later ones are tried again whatever the child says, and the rest of the stack stays up. Whoever is woken because one
/// compartment is gone wants the others to hold, and wants it back by mending the file that it names, without stopping
/// what works. What needs that is told once, as the child says it, and not with every try.
pub(super) async fn supervise(
    program: Program,
    state: watch::Sender<ChildState>,
    stop: CancellationToken,
    report: fn(&str),
) -> anyhow::Result<()> {
    let mut pause = RESTART_PAUSE;
    let mut trouble = Trouble::default();
    loop {
        let ChildState { starts, address: earlier, .. } = *state.borrow();
        let starts = starts + 1;
        let started = tokio::select! {
            started = start(&program, earlier) => started,
            () = stop.cancelled() => return Ok(()),
        };
        let began = tokio::time::Instant::now();
        let why = match started {
            Err(error) if starts == 1 => return Err(error),
            Err(error) => trouble.again(&error),
            Ok((mut child, address)) => {
                if let Some(news) = trouble.over(program.name) {
                    report(&news);
                }
                state.send_replace(ChildState { pid: child.id(), address: Some(address), starts });
                let status = tokio::select! {
                    status = child.wait() => status?,
                    () = stop.cancelled() => return end(child, program.name).await,
                };
                state.send_modify(|state| state.pid = None);
                Some(format!("{} died ({}); starting it again", program.name, died(status)))
            }
        };
        if began.elapsed() > RESTART_PAUSE_MAX {
            pause = RESTART_PAUSE;
        }
        if let Some(why) = why {
            report(&why);
        }
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return Ok(()) }
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
    }
}

/// Starts a program and waits until it has announced where it listens.
pub(crate) async fn start(
    program: &Program,
    earlier: Option<SocketAddr>,
) -> anyhow::Result<(Child, SocketAddr)> {
    let log = OpenOptions::new().create(true).append(true).open(&program.log);
    let log = log.with_context(|| format!("cannot write {}", program.log.display()))?;
    let begin = log.metadata().map_or(0, |log| log.len());
    let executable = std::env::current_exe().context("cannot find our own executable")?;
    let mut child = Command::new(executable)
        .args(&program.arguments)
        .args(listen_again(program, earlier))
        .args(["--parent", &std::process::id().to_string()])
        .envs(program.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C at the terminal is for the supervisor, which then lets the children drain.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.name))?;
    let stdout = child.stdout.take().context("a child without standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(START_TIMEOUT, lines.next_line()).await;
    let line = line.with_context(|| format!("{} did not start in time", program.name))??;
    let Some(line) = line else {
        let status = child.wait().await?;
        let (why, said) = (died(status), last_words(&program.log, begin));
        anyhow::bail!(NotStarted { name: program.name, why, said, exit: status.code().and_then(Exit::of) });
    };
    let announced: Announcement = serde_json::from_str(&line)
        .with_context(|| format!("{} announced something else than its address", program.name))?;
    Ok((child, announced.listening))
}

/// What makes a program listen where it did before.
fn listen_again(program: &Program, earlier: Option<SocketAddr>) -> Vec<String> {
    let known = earlier.filter(|_| program.keeps_address);
    known.map_or_else(Vec::new, |address| vec!["--listen".to_owned(), address.to_string()])
}

/// Lets a child drain, and kills it when that takes too long.
pub(crate) async fn end(mut child: Child, name: &str) -> anyhow::Result<()> {
    signal(child.id(), Signal::TERM);
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        tracing::warn!(name, "did not stop in time and is killed");
        child.kill().await?;
    }
    Ok(())
}

/// Sends a signal to a child that may already be gone.
pub(crate) fn signal(pid: Option<u32>, signal: Signal) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(%error, "a signal did not reach its process");
    }
}

/// How a process ended, for a person.
pub(crate) fn died(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}
