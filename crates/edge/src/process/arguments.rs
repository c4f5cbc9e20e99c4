//! What every service's process can be asked for.

use std::path::PathBuf;

use clap::Args;

/// Arguments of a service's process.
#[derive(Debug, Args)]
pub struct ServiceArguments {
    /// Configuration file with a table named like the service.
    #[arg(long, value_name = "FILE", env = "BULKHEAD_CONFIG")]
    pub config: PathBuf,
    /// Read the configuration and the files that it names, say "ok" or all mistakes, and exit with 0 or 78. Nothing
    /// is bound, and nothing is written.
    #[arg(long)]
    check_config: bool,
    /// Print what every key is set to, defaults included and secrets hidden, and exit.
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
    /// Ask the service that runs with this configuration whether it is ready, over its own port, and exit with 0 or 1
    /// within three seconds; 78 when the configuration does not say where it listens.
    #[arg(long, conflicts_with_all = ["check_config", "print_config"])]
    health: bool,
    /// With --check-config: answer in JSON.
    #[arg(long, requires = "check_config")]
    json: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Serve,
    Check { json: bool },
    Print,
    Health,
}

impl ServiceArguments {
    pub(super) fn action(&self) -> Action {
        match (self.check_config, self.print_config, self.health) {
            (true, _, _) => Action::Check { json: self.json },
            (_, true, _) => Action::Print,
            (_, _, true) => Action::Health,
            (false, false, false) => Action::Serve,
        }
    }
}
