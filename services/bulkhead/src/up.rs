//! `bulkhead up`: every service as a child process, on embedded storage.

pub(crate) mod child;
pub(crate) mod configuration;
mod heirs;
pub(crate) mod init;
mod layout;
mod lock;
pub(crate) mod secured;
mod signals;
pub(crate) mod simulated;
mod stack;
mod trouble;

use std::convert::Infallible;
use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bulkhead_exit::{Exit, Obstacle};
use clap::Args;

use crate::cli::default_data;
use crate::serve::Service;

pub(crate) use init::{Founding, Ports, private_folder};
pub(crate) use layout::Layout;
pub(crate) use lock::FolderLock;
pub(crate) use signals::StopSignals;
pub(crate) use stack::{Stack, StackOptions};

/// The services listen on this port plus 1 to 4 unless told otherwise.
pub(crate) const DEFAULT_PORT_BASE: u16 = 7100;

/// Arguments of `bulkhead up`.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Folder for keys, tokens, configuration and stores; made by the first start.
    #[arg(long, value_name = "DIR", default_value_os_t = default_data())]
    data: PathBuf,
    /// The services listen on this port plus 1 to 4, on loopback. 0 picks free ports. Used by the first
    /// start; afterwards the configuration file says where.
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PORT_BASE)]
    port_base: u16,
    /// Let a simulator stand in for three models (primary, fallback, local) behind the route `default`.
    #[arg(long)]
    simulate: bool,
    /// Make an authority and certificates in DIR/certs, and let every service speak TLS. Used by the first start;
    /// afterwards the configuration file says.
    #[arg(long)]
    tls: bool,
}

impl UpArguments {
    /// Runs until Ctrl-C or SIGTERM.
    pub(crate) fn run(self) -> ExitCode {
        let ran = tokio::runtime::Runtime::new()
            .context("cannot start a runtime")
            .and_then(|runtime| runtime.block_on(self.supervise()));
        match ran {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("bulkhead up: {error:#}"));
                exit(&error).into()
            }
        }
    }

    async fn supervise(self) -> anyhow::Result<()> {
        let mut signals = StopSignals::listen()?;
        let options = StackOptions {
            data: self.data,
            founding: Founding { ports: Ports::from_base(self.port_base), tls: self.tls },
            simulate: self.simulate,
            environment: Vec::new(),
            report: say,
        };
        let mut stack = Stack::open(options)?;
        let ended = tokio::select! {
            () = signals.asked() => Ok(()),
            Err(error) = run_until_failure(&mut stack, self.simulate) => Err(error),
        };
        say("Stopping: open calls may finish.");
        stack.stop().await;
        ended
    }
}

async fn run_until_failure(stack: &mut Stack, simulate: bool) -> anyhow::Result<Infallible> {
    stack.start().await?;
    say(&greeting(stack, simulate)?);
    Err(stack.failed().await)
}

/// As the child ended that did not start, or as what was found before there was one.
fn exit(error: &anyhow::Error) -> Exit {
    error.chain().find_map(meaning).unwrap_or(Exit::Failed)
}

fn meaning(cause: &(dyn Error + 'static)) -> Option<Exit> {
    let child = cause.downcast_ref::<child::NotStarted>().and_then(child::NotStarted::exit);
    let obstacle = || cause.downcast_ref::<Obstacle>().map(Obstacle::exit);
    // The services' configuration is read here first, to see how they speak.
    let configuration = || cause.is::<toml::de::Error>().then_some(Exit::Misconfigured);
    child.or_else(obstacle).or_else(configuration)
}

/// Progress for a person. Standard error, so that standard output stays free for what was asked for.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(std::io::stderr(), "{line}"));
}

fn greeting(stack: &Stack, simulate: bool) -> anyhow::Result<String> {
    let data = stack.layout().root().display();
    let mut text = String::from("\nBulkhead is up.\n\n");
    for service in Service::ALL.into_iter().rev() {
        text += &format!("  {:<14} {}\n", service.name(), stack.address(service));
    }
    if let Some(simulator) = stack.simulator() {
        text += &format!("  {:<14} {simulator}  (simulated models, route `default`)\n", "provider-sim");
    }
    text += &format!("\n  tokens         {data}/tokens/{{agent,approver,operator,auditor}}\n");
    text += &format!("  configuration  {data}/bulkhead.toml\n  logs           {data}/logs/\n");
    if !simulate {
        text += "\nNo model is configured yet: add one to the configuration, or start with --simulate.\n";
    }
    let executor = stack.address(Service::ToolExecutor);
    let transport = if stack.speaks_tls()? {
        let authority = stack.layout().authority();
        text += &format!("  authority      {}  (every service speaks TLS)\n", authority.display());
        format!("-cacert {}", authority.display())
    } else {
        "-plaintext".to_owned()
    };
    text += &format!(
        "\nTry:\n  grpcurl {transport} -H \"authorization: Bearer $(cat {data}/tokens/agent)\" \\\n    \
         {executor} bulkhead.tools.v1.ToolExecutorService/ListTools\n\nCtrl-C stops everything."
    );
    Ok(text)
}
