//! Words to actions.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::certs::CertsArguments;
use crate::chaos::ChaosCommand;
use crate::client::agent::AgentCommand;
use crate::client::approvals::ApprovalsCommand;
use crate::client::audit::QueryArguments;
use crate::client::budgets::BudgetsCommand;
use crate::client::chat::ChatArguments;
use crate::client::executions::ExecutionsCommand;
use crate::client::exit;
use crate::client::models::ModelsCommand;
use crate::client::tools::ToolsCommand;
use crate::completions::CompletionsArguments;
use crate::demo::DemoArguments;
use crate::door::DoorArguments;
use crate::init::InitArguments;
use crate::reach::ReachArguments;
use crate::serve::{ServeArguments, SimulatorArguments};
use crate::up::UpArguments;
use crate::verify::VerifyArguments;

/// The production-hardening layer for AI agents.
#[derive(Debug, Parser)]
#[command(name = "bulkhead", version = bulkhead_version::VERSION, propagate_version = true, after_long_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start every service on embedded storage and keep them running.
    ///
    /// Example: bulkhead up --data ./bulkhead-data --simulate --tls
    Up(UpArguments),
    /// Run one service in this process.
    ///
    /// Example: bulkhead serve audit --config ./bulkhead-data/bulkhead.toml
    Serve(ServeArguments),
    /// Run the main job end to end and measure every claim.
    ///
    /// Example: bulkhead demo --workspace ./notes
    Demo(DemoArguments),
    /// Make a certificate authority for development, and certificates for every service.
    ///
    /// Refuses to overwrite an authority. With --renew it keeps the one that is there and signs anew; services that
    /// run take the new files up by themselves.
    ///
    /// Example: bulkhead certs ./bulkhead-data/certs --name bulkhead.internal
    Certs(CertsArguments),
    /// Make keys, tokens, certificates and configuration for services in containers, a folder for each.
    ///
    /// Runs once before them, as the service `init` of docker-compose.yml. A second run changes nothing.
    ///
    /// Example: bulkhead init ./volumes --name bulkhead.internal
    Init(InitArguments),
    /// See what waits for people, and decide.
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// See what tools there are, what a call would do, and run it.
    #[command(subcommand)]
    Tools(ToolsCommand),
    /// See what became of tool calls, and take them back.
    #[command(subcommand)]
    Executions(ExecutionsCommand),
    /// See which models there are and which would be asked.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// See what was spent, and what may be.
    #[command(subcommand)]
    Budgets(BudgetsCommand),
    /// Talk to a model, and see its answer as it comes and what it took.
    ///
    /// With a text it answers once. Attempts, remarks and what it took go to standard error. To a terminal the answer
    /// goes as it comes; when a model fails in the middle, a line says that what came is void. Into a pipe it goes once
    /// it is whole. Exits 1 when the model declined, or the answer is cut.
    ///
    /// Example: bulkhead chat "Why is the sky blue?" --sensitivity health
    #[command(after_long_help = exit::HELP)]
    Chat(Box<ChatArguments>),
    /// Let the reference agent work.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Look at what was recorded.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Hurt a Bulkhead of its own and see what holds.
    #[command(subcommand)]
    Chaos(ChaosCommand),
    /// Print the completion script of a shell.
    ///
    /// Example: bulkhead completions bash > ~/.local/share/bash-completion/completions/bulkhead
    Completions(CompletionsArguments),
    /// Carry connections into a network of containers. docker-compose.yml runs it.
    #[command(hide = true)]
    Door(DoorArguments),
    /// Ask whether somebody listens.
    #[command(hide = true)]
    Reach(ReachArguments),
    /// Run the provider simulator in this process. It is no model.
    #[command(hide = true)]
    ServeSimulator(SimulatorArguments),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Ask a running service for events: the newest that match, in the order in which they happened.
    ///
    /// Example: bulkhead audit query --since 1h --kind tool. --outcome denied
    #[command(after_long_help = exit::HELP)]
    Query(Box<QueryArguments>),
    /// Verify a log offline: its files, its checkpoint, and one that was kept elsewhere.
    ///
    /// Exits 0 when nothing was found, 1 when something was, 2 when it cannot be read.
    ///
    /// Example: bulkhead audit verify ./bulkhead-data/audit --checkpoint kept-checkpoint --key keys/log.pub
    Verify(VerifyArguments),
}

impl Cli {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            Command::Up(arguments) => arguments.run(),
            Command::Serve(arguments) => arguments.run(),
            Command::Demo(arguments) => arguments.run(),
            Command::Approvals(command) => command.run(),
            Command::Tools(command) => command.run(),
            Command::Executions(command) => command.run(),
            Command::Models(command) => command.run(),
            Command::Budgets(command) => command.run(),
            Command::Chat(arguments) => arguments.run(),
            Command::Agent(command) => command.run(),
            Command::Audit { command: AuditCommand::Query(arguments) } => arguments.run(),
            Command::Certs(arguments) => arguments.run(),
            Command::Init(arguments) => arguments.run(),
            Command::Audit { command: AuditCommand::Verify(arguments) } => arguments.run(),
            Command::Chaos(command) => command.run(),
            Command::Completions(arguments) => arguments.run(),
            Command::Door(arguments) => arguments.run(),
            Command::Reach(arguments) => arguments.run(),
            Command::ServeSimulator(arguments) => arguments.run(),
        }
    }
}

/// Where `up` and `demo` keep things unless told otherwise.
pub(crate) fn default_data() -> PathBuf {
    PathBuf::from("bulkhead-data")
}
