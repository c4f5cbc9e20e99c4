//! The same through a real collector: `rotel`, which takes OTLP and passes it on.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use bulkhead_tests::{Collector, eventually};

use crate::story::{BOUND, Story};
use crate::whole;

/// Names the program. Whoever asks for this test has it.
const PROGRAM: &str = "BULKHEAD_TEST_ROTEL";

/// Killed when it is dropped.
struct Rotel(Child);

impl Drop for Rotel {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is what is wanted here.
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test program has no configuration of its own")]
fn program() -> anyhow::Result<OsString> {
    std::env::var_os(PROGRAM).with_context(|| format!("{PROGRAM} does not name the collector"))
}

/// Starts it in front of `behind`, and says where it listens.
async fn start(behind: &str) -> anyhow::Result<(Rotel, String)> {
    let program = program()?;
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let (grpc, http): (SocketAddr, SocketAddr) = (free()?, free()?);
    let child = Command::new(program)
        .args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "grpc"])
        .args(["--otlp-exporter-endpoint", behind])
        .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .context("the collector cannot be run")?;
    let mut rotel = Rotel(child);
    eventually("the collector to listen", BOUND, || {
        let ended = rotel.0.try_wait();
        async move {
            anyhow::ensure!(ended?.is_none(), "the collector has ended");
            Ok(tokio::net::TcpStream::connect(grpc).await.ok().map(drop))
        }
    })
    .await?;
    Ok((rotel, format!("http://{grpc}")))
}

#[tokio::test]
async fn a_real_collector_passes_the_trace_on_whole() -> anyhow::Result<()> {
    let (collector, behind) = Collector::start().await?;
    let (_rotel, endpoint) = start(&behind).await?;
    let story = Story::play(&endpoint).await?;
    whole::check(&story, &collector).await
}
