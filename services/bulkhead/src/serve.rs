//! `bulkhead serve SERVICE`: any one service, in this process.

use std::net::SocketAddr;
use std::process::ExitCode;

use bulkhead_edge::process::{self, ServiceArguments};
use clap::{Args, ValueEnum};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Arguments of `bulkhead serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Which service.
    service: Service,
    #[command(flatten)]
    arguments: ServiceArguments,
    /// Stop when this process, our parent, is gone.
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<i32>,
}

/// The services that this command can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Service {
    /// Calls models (port 7101).
    ModelRouter,
    /// Plans, gates, runs and undoes tool calls (port 7102).
    ToolExecutor,
    /// Decisions of people (port 7103).
    Approval,
    /// The record (port 7104).
    Audit,
}

impl Service {
    /// Every service, those first that others send to.
    pub(crate) const ALL: [Self; 4] = [Self::Audit, Self::Approval, Self::ToolExecutor, Self::ModelRouter];

    /// Its name in configuration, paths and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ModelRouter => bulkhead_model_router::NAME,
            Self::ToolExecutor => bulkhead_tool_executor::NAME,
            Self::Approval => bulkhead_approval::NAME,
            Self::Audit => bulkhead_audit::NAME,
        }
    }

    /// Its place after the port base: 7101 for the model-router, and so on.
    pub(crate) fn port_offset(self) -> u16 {
        match self {
            Self::ModelRouter => 1,
            Self::ToolExecutor => 2,
            Self::Approval => 3,
            Self::Audit => 4,
        }
    }
}

impl ServeArguments {
    /// Serves until told to stop.
    pub(crate) fn run(self) -> ExitCode {
        if let Some(parent) = self.parent
            && !follows(parent)
        {
            return ExitCode::FAILURE;
        }
        let arguments = &self.arguments;
        match self.service {
            Service::ModelRouter => {
                use bulkhead_model_router as service;
                process::run_following(service::NAME, arguments, service::Config::read, service::serve)
            }
            Service::ToolExecutor => {
                use bulkhead_tool_executor as service;
                process::run(service::NAME, arguments, service::Config::read, service::serve)
            }
            Service::Approval => {
                use bulkhead_approval as service;
                process::run(service::NAME, arguments, service::Config::read, service::serve)
            }
            Service::Audit => {
                use bulkhead_audit as service;
                process::run(service::NAME, arguments, service::Config::read, service::serve)
            }
        }
    }
}

/// Asks the kernel to stop us when `parent` dies, so that a killed supervisor leaves nobody behind. False
/// when it is gone already.
fn follows(parent: i32) -> bool {
    let asked = set_parent_process_death_signal(Some(Signal::TERM)).is_ok();
    asked && getppid() == Pid::from_raw(parent)
}

/// Arguments of `bulkhead serve-simulator`.
#[derive(Debug, Args)]
pub(crate) struct SimulatorArguments {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Stop when this process, our parent, is gone.
    #[arg(long, value_name = "PID", hide = true)]
    parent: Option<i32>,
}

impl SimulatorArguments {
    /// Serves until told to stop.
    pub(crate) fn run(self) -> ExitCode {
        if let Some(parent) = self.parent
            && !follows(parent)
        {
            return ExitCode::FAILURE;
        }
        process::host(bulkhead_provider_sim::NAME, |announce, shutdown| async move {
            Ok(bulkhead_provider_sim::run(self.listen, announce, shutdown).await?)
        })
    }
}
