//! The data folder that services are started on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_tests::command::run;
use bulkhead_tests::probe::Footprint;
use bulkhead_tests::{Binary, Options, Sandbox, binary, within};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

pub(crate) const SERVICES: [&str; 4] = ["model-router", "tool-executor", "approval", "audit"];
/// Services with a store in SQLite, and where it is.
pub(crate) const STORES: [(&str, &str); 3] = [
    ("model-router", "model-router/router.db"),
    ("tool-executor", "tool-executor/journal.sqlite"),
    ("approval", "approval/approval.db"),
];
/// Only guards against hanging.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The data folder of a stack that ran once and was stopped.
pub(crate) struct House {
    pub(crate) sandbox: Sandbox,
}

impl House {
    pub(crate) async fn build() -> anyhow::Result<Self> {
        Self::build_after(0).await
    }

    /// With the record of so many calls.
    pub(crate) async fn build_after(calls: usize) -> anyhow::Result<Self> {
        let mut sandbox = Sandbox::start(Options::default()).await?;
        for _ in 0..calls {
            run(&sandbox, &["tools", "run", "fs.list", "path=."])?.exits(0)?;
        }
        // A stop ends all services at once: what is still in an outbox then waits there for the next start.
        Footprint::of(&sandbox).await?;
        let status = sandbox.stop().await?;
        anyhow::ensure!(status.success(), "{status}");
        Ok(Self { sandbox })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.sandbox.data().join(name)
    }

    /// Every service is configured here, the router with simulated models.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("simulated-models.toml")
    }

    pub(crate) fn serve(&self, service: &str, config: &Path, more: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary(Binary::Shipped)?);
        command.args(["serve", service, "--config"]).arg(config).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Runs a service that is expected to end by itself.
    pub(crate) async fn ends(&self, service: &str, config: &Path, more: &[&str]) -> anyhow::Result<Output> {
        let child = self.serve(service, config, more)?.spawn()?;
        Ok(within("the end of a service", SOON, child.wait_with_output()).await??)
    }

    /// Runs a service until it has announced itself, and kills it.
    pub(crate) async fn starts(&self, service: &str) -> anyhow::Result<()> {
        let mut child = self.serve(service, &self.config(), &[])?.stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().context("piped")?;
        let line = within("an announcement", SOON, BufReader::new(stdout).lines().next_line()).await??;
        let line = line.with_context(|| format!("{service} ended without a word"))?;
        anyhow::ensure!(line.contains("listening"), "{service}: {line}");
        child.kill().await.context("cannot end it")
    }

    /// Every file with its content.
    pub(crate) fn content(&self) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
        let (mut folders, mut files) = (vec![self.sandbox.data()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((path.clone(), fs::read(path)?));
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
