//! A whole stack for one test.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_edge::peer::{Credentials, Peer, dial_with};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Binary, binary, eventually};

/// How long a stack may take to start on a busy machine.
const START_BOUND: Duration = Duration::from_secs(60);
/// How long a stack may take to drain.
const STOP_BOUND: Duration = Duration::from_secs(40);

/// How a stack is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which build.
    pub binary: Binary,
    /// Additional environment, such as the failpoints.
    pub environment: Vec<(String, String)>,
    /// Whether simulated models answer. Without them none is configured.
    pub simulate: bool,
    /// Whether every service speaks TLS.
    pub tls: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { binary: Binary::Shipped, environment: Vec::new(), simulate: true, tls: false }
    }
}

/// `bulkhead up --simulate` on free ports, in a folder of its own. Dropping it kills everything.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
    options: Options,
    up: Child,
}

impl Sandbox {
    /// Starts a stack and waits until it is up.
    ///
    /// # Errors
    /// When it does not come up; the error holds what it said.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("bulkhead-test-").tempdir()?;
        let up = launch(folder.path(), &options)?;
        let mut sandbox = Self { folder, options, up };
        sandbox.ready().await?;
        Ok(sandbox)
    }

    /// Waits until a stack that was launched is up.
    ///
    /// # Errors
    /// When it does not come up; the error holds what it said.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.says("Bulkhead is up.").await
    }

    /// Waits until the supervisor has said a line.
    ///
    /// # Errors
    /// When it does not, or ends; the error holds what it said.
    pub async fn says(&mut self, line: &str) -> anyhow::Result<()> {
        let said = self.folder.path().join("up.log");
        for_line(&mut self.up, &said, line).await
    }

    /// The data folder of `up`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder that agents work in.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.data().join("workspace")
    }

    /// Where a service listens, from the configuration.
    ///
    /// # Errors
    /// When the configuration does not say.
    pub fn address(&self, service: &str) -> anyhow::Result<String> {
        let config: toml::Table =
            toml::from_str(&std::fs::read_to_string(self.data().join("bulkhead.toml"))?)?;
        let listen =
            config.get(service).and_then(|table| table.get("edge")).and_then(|edge| edge.get("listen"));
        Ok(listen.and_then(toml::Value::as_str).context("no listen address")?.to_owned())
    }

    /// Where the simulated models listen.
    ///
    /// # Errors
    /// When there are none.
    pub fn simulator(&self) -> anyhow::Result<SocketAddr> {
        let text = std::fs::read_to_string(self.data().join("simulated-models.toml"))?;
        let config: toml::Table = toml::from_str(&text)?;
        let router = config.get("model-router").and_then(toml::Value::as_table).unwrap_or(&config);
        let url = router["model"][0]["base_url"].as_str().context("no base_url")?;
        Ok(url.trim_start_matches("http://").parse()?)
    }

    /// The token of a role, or of a service (`keys/audit.token`).
    ///
    /// # Errors
    /// When there is none.
    pub fn token(&self, role: &str) -> anyhow::Result<String> {
        let path =
            if role == "service" { "keys/tool-executor.token".into() } else { format!("tokens/{role}") };
        Ok(std::fs::read_to_string(self.data().join(path))?)
    }

    /// A connection to a service with the token of a role.
    ///
    /// # Errors
    /// When the address or the token is missing.
    pub fn connect(&self, service: &str, role: &str) -> anyhow::Result<Peer> {
        let credentials = Credentials::new(&self.token(role)?).context("an empty token")?;
        Ok(dial_with(&format!("http://{}", self.address(service)?), credentials)?)
    }

    /// Process ids of the service's processes, or the simulator's (`provider-sim`), found as an operator would
    /// find them: children of this supervisor, or what an earlier one left on the same data.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn pids(&self, service: &str) -> anyhow::Result<Vec<i32>> {
        let (data, up) = (self.data().display().to_string(), self.up.id().to_string());
        processes(|arguments| {
            let ours = arguments.iter().any(|argument| argument.starts_with(&data))
                || arguments.windows(2).any(|pair| pair[0] == "--parent" && pair[1] == up);
            let serves = match service {
                "provider-sim" => arguments.iter().any(|argument| argument == "serve-simulator"),
                _ => arguments.windows(2).any(|pair| pair[0] == "serve" && pair[1] == service),
            };
            ours && serves
        })
    }

    /// Kills a service as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, service: &str) -> anyhow::Result<i32> {
        let pid = *self.pids(service)?.first().with_context(|| format!("{service} does not run"))?;
        send(pid, Signal::KILL)?;
        Ok(pid)
    }

    /// Kills the supervisor alone, with SIGKILL.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn kill_supervisor(&mut self) -> anyhow::Result<()> {
        self.up.kill().and_then(|()| self.up.wait()).map(drop).context("cannot kill the supervisor")
    }

    /// What the supervisor told people so far.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn said(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("up.log"))?)
    }

    /// Stops the stack as Ctrl-C does and returns how it ended.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        send(i32::try_from(self.up.id())?, Signal::INT)?;
        let up = &mut self.up;
        let mut ended = || up.try_wait();
        eventually("the stack to stop", STOP_BOUND, || {
            let status = ended();
            async move { Ok(status?) }
        })
        .await
    }

    /// Starts a stopped stack again on the same data.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.launch_again()?;
        self.ready().await
    }

    /// The same without waiting until it is up.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn launch_again(&mut self) -> anyhow::Result<()> {
        self.up = launch(self.folder.path(), &self.options)?;
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The children follow: they asked the kernel to. A stack that has ended cannot be killed, which is
        // what is wanted here.
        drop(self.up.kill().and_then(|()| self.up.wait()));
    }
}

/// Ids of the processes whose arguments are wanted.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn processes(wanted: impl Fn(&[String]) -> bool) -> anyhow::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process may be gone by now.
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let arguments: Vec<String> =
            line.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        if wanted(&arguments) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

fn launch(folder: &Path, options: &Options) -> anyhow::Result<Child> {
    let log = File::create(folder.join("up.log"))?;
    let child = Command::new(binary(options.binary)?)
        .arg("up")
        .args(options.simulate.then_some("--simulate"))
        .args(options.tls.then_some("--tls"))
        .args(["--port-base", "0", "--data"])
        .arg(folder.join("data"))
        .envs(options.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    Ok(child)
}

async fn for_line(up: &mut Child, said: &Path, line: &str) -> anyhow::Result<()> {
    eventually("the stack to come up", START_BOUND, || {
        let text = std::fs::read_to_string(said);
        let ended = up.try_wait();
        async move {
            let text = text?;
            if let Some(status) = ended? {
                anyhow::bail!("up ended with {status} and said:\n{text}");
            }
            Ok(text.contains(line).then_some(()))
        }
    })
    .await
}

/// Sends a signal to a process.
///
/// # Errors
/// When there is no such process.
pub fn send(pid: i32, signal: Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(pid).context("no such process")?;
    kill_process(pid, signal).context("cannot send a signal")
}
