//! A whole Bulkhead of processes, of which each can be hurt on its own.

mod keeper;
mod settings;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_edge::peer::{Credentials, Peer, dial_with};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::clock::Clock;
use super::disk::Disk;
use super::fault::{Cut, Family, Fault, Injection, Wire};
use super::link::Link;
use super::model::FirstModel;
use super::timeline::Timeline;
use crate::serve::Service;
use crate::up::child::{self, Program};
use crate::up::{FolderLock, Founding, Layout, Ports, init, private_folder, simulated};
use keeper::Keeper;

/// Where agents' files lie, apart from each other so that arrivals can be told.
pub(super) const FOLDERS: [&str; 6] = ["ledgers", "made", "inbox", "done", "old", "probes"];
/// The root on which nothing can be taken back.
pub(super) const FRAGILE: &str = "fragile";
/// The file in it.
pub(super) const FRAGILE_FILE: &str = "log.txt";
/// The collector of every run is down: nobody listens at a port that no program may be given. Nothing may notice.
const NO_COLLECTOR: &str = "http://127.0.0.1:1";
/// How long a service may take until it has announced itself, also over a disturbed start.
const START_TIMEOUT: Duration = Duration::from_secs(40);

/// The processes, the wires between them, the disks under them and the clocks they see.
#[derive(Debug)]
pub(super) struct House {
    layout: Layout,
    keepers: Vec<Keeper>,
    links: Vec<(Wire, Link)>,
    disks: Vec<(Service, Disk)>,
    clocks: Vec<(Service, Clock)>,
    simulator: Child,
    model: FirstModel,
    tracker: TaskTracker,
    stop: CancellationToken,
    #[expect(dead_code, reason = "held, never asked")]
    lock: FolderLock,
}

impl House {
    /// Founds a data folder and starts everything in it.
    pub(super) async fn start(
        folder: &Path,
        families: &[Family],
        failpoints: Option<String>,
        timeline: &Timeline,
    ) -> anyhow::Result<Self> {
        let layout = Layout::new(std::path::absolute(folder).context("cannot resolve the data folder")?);
        private_folder(layout.root())?;
        let lock = FolderLock::take(&layout)?;
        let mut reserved = init::ensure(&layout, Founding { ports: Ports::Free, tls: false })?;
        let tracker = TaskTracker::new();
        let links = lay(&layout, &tracker).await?;
        settings::write(&layout, &links)?;
        let disks = if families.contains(&Family::Disk) { mount(&layout)? } else { Vec::new() };
        let clocks = if families.contains(&Family::Clock) { wind(&layout)? } else { Vec::new() };
        let (simulator, address) = simulate(&layout).await?;
        let router_config = simulated::configure(&layout, address)?;
        let mut house = Self {
            layout,
            keepers: Vec::new(),
            links,
            disks,
            clocks,
            simulator,
            model: FirstModel::at(address)?,
            tracker,
            stop: CancellationToken::new(),
            lock,
        };
        for service in Service::ALL {
            let program = house.program(service, &router_config, failpoints.as_deref())?;
            reserved.release(service);
            let keeper =
                Keeper::start(service, program, &house.tracker, house.stop.clone(), timeline.clone());
            house.keepers.push(keeper);
        }
        for keeper in &house.keepers {
            keeper.running(START_TIMEOUT).await?;
        }
        Ok(house)
    }

    fn program(&self, service: Service, router: &Path, failpoints: Option<&str>) -> anyhow::Result<Program> {
        let config = if service == Service::ModelRouter { router.to_owned() } else { self.layout.config() };
        let config = config.to_str().context("the data folder's path is not UTF-8")?.to_owned();
        let mut environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), NO_COLLECTOR.to_owned())];
        if let Some((_, clock)) = self.clocks.iter().find(|(of, _)| *of == service) {
            environment.extend(clock.environment()?);
        }
        if let Some(failpoints) = failpoints {
            environment.push((bulkhead_failpoint::VARIABLE.to_owned(), failpoints.to_owned()));
        }
        Ok(Program {
            name: service.name(),
            arguments: ["serve", service.name(), "--config", &config].map(str::to_owned).to_vec(),
            keeps_address: false,
            environment,
            log: self.layout.log(service.name()),
        })
    }

    /// Where things lie.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A connection to a service with somebody's token. Agents and people reach services directly.
    pub(super) fn connect(&self, service: Service, role: &str) -> anyhow::Result<Peer> {
        let address = settings::address(&self.layout, service)?;
        let credentials = Credentials::load(&self.layout.token(role))?;
        Ok(dial_with(&format!("http://{address}"), credentials)?)
    }

    /// Where a service listens.
    pub(super) fn address(&self, service: Service) -> anyhow::Result<SocketAddr> {
        settings::address(&self.layout, service)
    }

    /// Injects a fault.
    pub(super) async fn inject(&self, injection: &Injection) -> anyhow::Result<()> {
        match injection.fault {
            Fault::Kill(service) => self.keeper(service)?.kill(),
            Fault::Pause(service) => self.keeper(service)?.pause(),
            Fault::Cut(wire, how) => self.cut(wire, Some(how))?,
            Fault::Model(how) => self.model.put_out(how).await?,
            Fault::FillDisk(service) => self.disk(service)?.fill()?,
            Fault::StepClock(service, seconds) => self.clock(service)?.step(seconds)?,
            Fault::Crash(point, pass) => self.keeper(point.service)?.arm(&format!("{}@{pass}", point.name)),
        }
        Ok(())
    }

    /// Ends a fault.
    pub(super) async fn heal(&self, injection: &Injection) -> anyhow::Result<()> {
        match injection.fault {
            Fault::Kill(service) => self.keeper(service)?.release(),
            Fault::Pause(service) => self.keeper(service)?.resume(),
            Fault::Cut(wire, _) => self.cut(wire, None)?,
            Fault::Model(_) => self.model.bring_back().await?,
            Fault::FillDisk(service) => self.disk(service)?.make_room()?,
            Fault::StepClock(service, _) => self.clock(service)?.step(0)?,
            Fault::Crash(point, _) => self.keeper(point.service)?.disarm(),
        }
        Ok(())
    }

    fn cut(&self, wire: Wire, how: Option<Cut>) -> anyhow::Result<()> {
        let (_, link) = self.links.iter().find(|(known, _)| *known == wire).context("no such wire")?;
        link.set(how);
        Ok(())
    }

    fn keeper(&self, service: Service) -> anyhow::Result<&Keeper> {
        self.keepers.iter().find(|keeper| keeper.service() == service).context("no such service")
    }

    fn disk(&self, service: Service) -> anyhow::Result<&Disk> {
        self.disks.iter().find(|(of, _)| *of == service).map(|(_, disk)| disk).context("no such disk")
    }

    fn clock(&self, service: Service) -> anyhow::Result<&Clock> {
        self.clocks.iter().find(|(of, _)| *of == service).map(|(_, clock)| clock).context("no such clock")
    }

    /// Lets everything drain and end. Stores on disks of their own are kept.
    pub(super) async fn stop(mut self) -> anyhow::Result<Layout> {
        // A stopped process cannot drain.
        self.keepers.iter().for_each(Keeper::resume);
        self.stop.cancel();
        self.links.clear();
        self.tracker.close();
        self.tracker.wait().await;
        self.simulator.kill().await.context("cannot stop the simulator")?;
        for (_, disk) in self.disks.drain(..) {
            disk.keep()?;
        }
        Ok(self.layout)
    }
}

async fn lay(layout: &Layout, tracker: &TaskTracker) -> anyhow::Result<Vec<(Wire, Link)>> {
    let mut links = Vec::new();
    for wire in Wire::ALL {
        let link = Link::lay(settings::address(layout, wire.to)?, tracker).await;
        links.push((wire, link.context("cannot lay a wire")?));
    }
    Ok(links)
}

fn mount(layout: &Layout) -> anyhow::Result<Vec<(Service, Disk)>> {
    Service::ALL.into_iter().map(|service| Ok((service, Disk::mount(&layout.data(service))?))).collect()
}

fn wind(layout: &Layout) -> anyhow::Result<Vec<(Service, Clock)>> {
    let clock = |service: Service| Clock::new(layout.root().join(format!("clock-of-{}", service.name())));
    Service::ALL.into_iter().map(|service| Ok((service, clock(service)?))).collect()
}

async fn simulate(layout: &Layout) -> anyhow::Result<(Child, SocketAddr)> {
    let program = Program {
        name: bulkhead_provider_sim::NAME,
        arguments: vec!["serve-simulator".to_owned()],
        keeps_address: false,
        environment: Vec::new(),
        log: layout.log(bulkhead_provider_sim::NAME),
    };
    child::start(&program, None).await
}
