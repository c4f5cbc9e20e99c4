//! The process that is measured.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tonic::transport::{Channel, Endpoint};

use crate::house::House;
use crate::secure;

/// Clock ticks a second in `/proc/PID/stat`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// tonic's own server and nothing else.
    Bare,
    /// The whole stack.
    Edge,
}

/// What its connections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// TCP.
    Plaintext,
    /// TLS 1.3 over it.
    Tls,
}

/// A serving process; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    address: String,
    transport: Transport,
    house: House,
}

impl Child {
    /// Starts this program once more, as a server, and waits for its address. Its log goes where a log goes in
    /// practice: to a file.
    pub(crate) async fn start(
        kind: Kind,
        transport: Transport,
        house: &House,
        collector: Option<&str>,
    ) -> anyhow::Result<Self> {
        let name = kind.to_possible_value().context("every kind has a name")?;
        let over = transport.to_possible_value().context("every transport has a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", name.get_name(), over.get_name()]).arg(house.folder());
        command.stdout(Stdio::piped()).stderr(tempfile::tempfile()?);
        if let Some(endpoint) = collector {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        }
        let mut process = command.spawn()?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line: serde_json::Value = serde_json::from_str(&line.await??)?;
        let address = line["listening"].as_str().context("the address stands in the first line")?.to_owned();
        Ok(Self { process, address, transport, house: house.clone() })
    }

    /// A connection to it.
    pub(crate) async fn connect(&self) -> anyhow::Result<Channel> {
        if self.transport == Transport::Tls {
            return secure::connect(&self.address, &self.house).await;
        }
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?;
        Ok(endpoint.tcp_nodelay(true).connect().await?)
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
}

impl Drop for Child {
    fn drop(&mut self) {
        // It cannot be killed when it has ended already, which is what is wanted.
        drop(self.process.kill().and_then(|()| self.process.wait()));
    }
}
