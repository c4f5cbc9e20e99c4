//! Connections that do not speak HTTP/2, or not to the end.

use std::time::Duration;

use bulkhead_tests::probe::World;
use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::garble::noise;

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Settings, none of them.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// How long to listen for what the service says to it.
const LISTEN: Duration = Duration::from_millis(20);

/// Opens a connection, sends bytes that mean nothing, and goes away.
pub(crate) async fn send(world: &World, random: &mut StdRng) -> anyhow::Result<()> {
    let services = ["model-router", "tool-executor", "approval", "audit"];
    let address = world.sandbox.address(services[random.random_range(0..services.len())])?;
    let mut connection = TcpStream::connect(address).await?;
    let mut bytes = match random.random_range(0..4) {
        0 => Vec::new(),
        1 => b"POST /bulkhead.audit.v1.AuditService/AppendEvents HTTP/1.1\r\n".to_vec(),
        2 => PREFACE.to_vec(),
        _ => [PREFACE, SETTINGS].concat(),
    };
    for _ in 0..random.random_range(1..5) {
        // A frame of any kind on any stream, mostly with the length that it has.
        let content = noise(random, 200);
        let length = u32::try_from(content.len())?.wrapping_add(u32::from(random.random_ratio(1, 5)));
        bytes.extend_from_slice(&length.to_be_bytes()[1..]);
        bytes.extend([random.random_range(0..12), random.random(), 0, 0, 0, random.random_range(0..6)]);
        bytes.extend(content);
    }
    // The service may have closed it already.
    if connection.write_all(&bytes).await.is_ok() {
        let mut said = Vec::new();
        drop(tokio::time::timeout(LISTEN, connection.read_to_end(&mut said)).await);
    }
    Ok(())
}
