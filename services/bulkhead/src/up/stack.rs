//! The four services, and the simulator if wanted, as one thing that starts and stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::child::{ChildState, Program, signal, supervise};
use super::lock::FolderLock;
use super::{Founding, Layout, configuration, init, secured};
use crate::serve::Service;

/// How long a stack may take until every service has announced its address.
const START_TIMEOUT: Duration = Duration::from_secs(40);

/// What a stack is made from.
#[derive(Debug)]
pub(crate) struct StackOptions {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// How to listen, if the first start has not settled that.
    pub(crate) founding: Founding,
    /// Whether the simulator stands in for the models.
    pub(crate) simulate: bool,
    /// Additional environment of the services.
    pub(crate) environment: Vec<(String, String)>,
    /// Where news for a person go.
    pub(crate) report: fn(&str),
}

/// A stack: opened, started, stopped. Without [`Stack::stop`] the children are killed with the runtime.
#[derive(Debug)]
pub(crate) struct Stack {
    layout: Layout,
    options: StackOptions,
    services: Vec<(Service, watch::Receiver<ChildState>)>,
    simulator: Option<SocketAddr>,
    tracker: TaskTracker,
    stop: CancellationToken,
    fail: mpsc::Sender<anyhow::Error>,
    failures: tokio::sync::Mutex<mpsc::Receiver<anyhow::Error>>,
    reserved: init::Reserved,
    #[expect(dead_code, reason = "held, never asked")]
    lock: FolderLock,
}

impl Stack {
    /// Takes and prepares the data folder. Nothing runs yet.
    pub(crate) fn open(options: StackOptions) -> anyhow::Result<Self> {
        let root = std::path::absolute(&options.data).context("cannot resolve the data folder")?;
        let layout = Layout::new(root);
        init::private_folder(layout.root())?;
        let lock = FolderLock::take(&layout)?;
        let reserved = init::ensure(&layout, options.founding)?;
        let (fail, failures) = mpsc::channel(8);
        Ok(Self {
            layout,
            options,
            services: Vec::new(),
            simulator: None,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            fail,
            failures: tokio::sync::Mutex::new(failures),
            reserved,
            lock,
        })
    }

    /// Starts every child and returns once all have announced their address. What was started before an
    /// error, or before this was given up, runs until [`Stack::stop`].
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let mut router_config = self.layout.config();
        if self.options.simulate {
            let program = self.program("provider-sim", vec!["serve-simulator".to_owned()], &[]);
            let mut watched = self.launch(Program { keeps_address: true, ..program });
            let address = self.announced("provider-sim", &mut watched).await?;
            self.simulator = Some(address);
            router_config = self.write_simulated_config(address)?;
        }
        for service in Service::ALL {
            let config =
                if service == Service::ModelRouter { router_config.clone() } else { self.layout.config() };
            let config = config.to_str().context("the data folder's path is not UTF-8")?.to_owned();
            let arguments = ["serve", service.name(), "--config", &config].map(str::to_owned).to_vec();
            let program = self.program(service.name(), arguments, &self.options.environment);
            self.reserved.release(service);
            self.services.push((service, self.launch(program)));
        }
        for (service, watched) in &self.services {
            self.announced(service.name(), &mut watched.clone()).await?;
        }
        Ok(())
    }

    fn launch(&self, program: Program) -> watch::Receiver<ChildState> {
        let (state, watched) = watch::channel(ChildState::default());
        let (stop, fail, report) = (self.stop.clone(), self.fail.clone(), self.options.report);
        self.tracker.spawn(async move {
            if let Err(error) = supervise(program, state, stop, report).await {
                // The receiver lives as long as the stack; a full channel already holds a reason.
                drop(fail.try_send(error));
            }
        });
        watched
    }

    fn program(
        &self,
        name: &'static str,
        arguments: Vec<String>,
        environment: &[(String, String)],
    ) -> Program {
        let log = self.layout.log(name);
        Program { name, arguments, keeps_address: false, environment: environment.to_vec(), log }
    }

    async fn announced(
        &self,
        name: &'static str,
        watched: &mut watch::Receiver<ChildState>,
    ) -> anyhow::Result<SocketAddr> {
        let address = async {
            let state = watched.wait_for(|state| state.address.is_some()).await.ok();
            state.and_then(|state| state.address)
        };
        tokio::select! {
            address = tokio::time::timeout(START_TIMEOUT, address) => match address {
                Ok(Some(address)) => Ok(address),
                Ok(None) => Err(self.failed().await),
                Err(_elapsed) => anyhow::bail!("{name} did not announce its address in time"),
            },
            reason = self.failed() => Err(reason),
        }
    }

    /// The router's configuration with the three simulated models in place of its own.
    fn write_simulated_config(&self, simulator: SocketAddr) -> anyhow::Result<PathBuf> {
        let text = std::fs::read_to_string(self.layout.config())?;
        let key = self.layout.simulated_key();
        std::fs::write(&key, "simulated\n").context("cannot write the key for the simulated models")?;
        let file = configuration::simulated(&text, &format!("http://{simulator}"), &key)?;
        let header = "# Written by every `bulkhead up --simulate`; edit bulkhead.toml instead.\n";
        let path = self.layout.simulated_config();
        std::fs::write(&path, format!("{header}{}", toml::to_string(&file)?))?;
        Ok(path)
    }

    /// The data folder.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the services speak TLS.
    pub(crate) fn speaks_tls(&self) -> anyhow::Result<bool> {
        secured::is_spoken(&self.layout)
    }

    /// Where a service listens.
    pub(crate) fn address(&self, service: Service) -> String {
        self.state(service).address.map_or_else(|| "starting".to_owned(), |address| address.to_string())
    }

    /// Where the simulator listens, if there is one.
    pub(crate) fn simulator(&self) -> Option<SocketAddr> {
        self.simulator
    }

    /// What is known of a service now.
    pub(crate) fn state(&self, service: Service) -> ChildState {
        let found = self.services.iter().find(|(known, _)| *known == service);
        found.map_or_else(ChildState::default, |(_, state)| *state.borrow())
    }

    /// Kills a service as a crash would, and returns the state it will have left behind.
    pub(crate) fn kill(&self, service: Service) -> ChildState {
        let state = self.state(service);
        signal(state.pid, Signal::KILL);
        state
    }

    /// Waits until a service runs again after `earlier`.
    pub(crate) async fn restarted(
        &self,
        service: Service,
        earlier: ChildState,
    ) -> anyhow::Result<ChildState> {
        let found = self.services.iter().find(|(known, _)| *known == service);
        let mut watched = found.map(|(_, state)| state.clone()).context("no such service")?;
        let again = watched.wait_for(|state| state.starts > earlier.starts && state.pid.is_some());
        let state =
            tokio::time::timeout(START_TIMEOUT, again).await.context("it was not started again in time")?;
        Ok(*state?)
    }

    /// Resolves with the reason when a child cannot be kept running.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        let failure = self.failures.lock().await.recv().await;
        failure.unwrap_or_else(|| anyhow::anyhow!("the supervisor ended"))
    }

    /// Lets every child drain and waits for them. One that has not announced itself yet has nothing to drain
    /// and is killed.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
