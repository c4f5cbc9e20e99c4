//! `bulkhead reach`: whether somebody listens, for the health checks of containers that hold nothing else to ask with.
//! The services have a better question for themselves (`--health`).

use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::up::say;

/// For each address. Below the five seconds that docker-compose.yml gives the whole check.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Arguments of `bulkhead reach`.
#[derive(Debug, Args)]
pub(crate) struct ReachArguments {
    /// Addresses with a port, such as 127.0.0.1:7105.
    #[arg(value_name = "ADDRESS", required = true)]
    addresses: Vec<SocketAddr>,
}

impl ReachArguments {
    /// Exits 0 when each takes connections.
    pub(crate) fn run(self) -> ExitCode {
        for address in self.addresses {
            if let Err(error) = TcpStream::connect_timeout(&address, TIMEOUT) {
                say(&format!("nobody takes connections at {address}: {error}"));
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }
}
