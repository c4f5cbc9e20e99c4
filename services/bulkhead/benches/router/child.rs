//! Processes that serve.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// Clock ticks a second in `/proc/PID/stat`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A serving process. It is asked to end when this is dropped, and awaited.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    pub(crate) address: String,
}

impl Child {
    /// Starts a program and waits for its address. Its log goes where a log goes in practice: to a file.
    pub(crate) async fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(tempfile::tempfile()?);
        let mut process = command.spawn().with_context(|| format!("{command:?} does not start"))?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = line.await??;
        let line: serde_json::Value = serde_json::from_str(&line)
            .with_context(|| format!("{command:?} announced no address: {line:?}"))?;
        let address = line["listening"].as_str().context("the address stands in the first line")?.to_owned();
        Ok(Self { process, address })
    }

    /// This program once more, in another part.
    pub(crate) async fn part(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::start(command).await
    }

    /// Processor time that it has used.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The second field is the name, in brackets; utime and stime are the 14th and the 15th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system).context("no cpu times")?;
        Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
    }

    /// What is resident, in KiB.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let figure = line.and_then(|line| line.split_whitespace().next());
        Ok(figure.context("the kernel does not tell VmRSS")?.parse()?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It cannot be asked when it has ended already, which is what is wanted.
        let asked = kill_process(Pid::from_child(&self.process), Signal::TERM);
        drop(asked.map_err(Into::into).and_then(|()| self.process.wait()));
    }
}
