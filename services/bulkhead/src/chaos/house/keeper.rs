//! Keeps one service running, except when it is to be down.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chaos::timeline::Timeline;
use crate::serve::Service;
use crate::up::child::{Program, died, end, signal, start};

/// Before a process that ended by itself is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(150);

/// One service and its process.
#[derive(Debug)]
pub(super) struct Keeper {
    service: Service,
    orders: watch::Sender<Orders>,
    /// The process, once it has announced itself and while it is there.
    pid: watch::Receiver<Option<u32>>,
}

/// What is wanted of the process. Every change ends the one that is there, also one that is only starting.
#[derive(Debug, Clone)]
struct Orders {
    /// Whether it may run.
    allowed: bool,
    /// What the next start, and that one alone, is told to die at.
    armed: Option<String>,
}

impl Keeper {
    pub(super) fn start(
        service: Service,
        program: Program,
        tracker: &TaskTracker,
        stop: CancellationToken,
        timeline: Timeline,
    ) -> Self {
        let (orders, given) = watch::channel(Orders { allowed: true, armed: None });
        let (running, pid) = watch::channel(None);
        tracker.spawn(Kept { program, orders: given, running, timeline }.keep(stop));
        Self { service, orders, pid }
    }

    pub(super) fn service(&self) -> Service {
        self.service
    }

    /// Waits until it runs.
    pub(super) async fn running(&self, bound: Duration) -> anyhow::Result<()> {
        let mut pid = self.pid.clone();
        let up = tokio::time::timeout(bound, pid.wait_for(Option::is_some)).await;
        up.with_context(|| format!("{} did not start in time", self.service.name()))??;
        Ok(())
    }

    /// Kills it and keeps it down.
    pub(super) fn kill(&self) {
        self.orders.send_replace(Orders { allowed: false, armed: None });
    }

    /// Lets it run again.
    pub(super) fn release(&self) {
        self.orders.send_replace(Orders { allowed: true, armed: None });
    }

    pub(super) fn pause(&self) {
        signal(*self.pid.borrow(), Signal::STOP);
    }

    pub(super) fn resume(&self) {
        signal(*self.pid.borrow(), Signal::CONT);
    }

    /// Starts it again at once, told to die at a point.
    pub(super) fn arm(&self, point: &str) {
        self.orders.send_replace(Orders { allowed: true, armed: Some(point.to_owned()) });
    }

    /// Starts it again at once, so that it cannot die at that point any more.
    pub(super) fn disarm(&self) {
        self.release();
    }
}

/// The keeper's task.
struct Kept {
    program: Program,
    orders: watch::Receiver<Orders>,
    running: watch::Sender<Option<u32>>,
    timeline: Timeline,
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// By itself.
    Died,
    /// Because of other orders.
    Killed,
    /// Because all is over.
    Stopped,
}

impl Kept {
    async fn keep(mut self, stop: CancellationToken) {
        let mut last = Ended::Killed;
        while last != Ended::Stopped {
            if last == Ended::Died {
                tokio::select! { () = tokio::time::sleep(RESTART_PAUSE) => {}, () = stop.cancelled() => return }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                allowed = self.orders.wait_for(|orders| orders.allowed) => if allowed.is_err() { return },
            }
            // Whether these orders are new: the start after a crash is not told to crash again.
            let orders = self.orders.borrow_and_update().clone();
            let armed = if last == Ended::Killed { orders.armed } else { None };
            last = self.run(&self.armed(armed.as_deref()), self.orders.clone(), &stop).await;
            if let (Some(point), Ended::Killed) = (armed, &last) {
                self.timeline.note(&format!("{} never came to {point}", self.program.name));
            }
        }
    }

    /// From a start to the end of the process.
    async fn run(
        &self,
        program: &Program,
        mut orders: watch::Receiver<Orders>,
        stop: &CancellationToken,
    ) -> Ended {
        let started = tokio::select! {
            started = start(program, None) => started,
            // Giving a start up kills what was started.
            _ = orders.changed() => return Ended::Killed,
            () = stop.cancelled() => return Ended::Stopped,
        };
        match started {
            Ok((child, _)) => {
                self.running.send_replace(child.id());
                let ended = self.watch(child, orders, stop).await;
                self.running.send_replace(None);
                ended
            }
            Err(error) => {
                self.timeline.note(&format!("{} did not start: {error:#}", program.name));
                Ended::Died
            }
        }
    }

    async fn watch(
        &self,
        mut child: Child,
        mut orders: watch::Receiver<Orders>,
        stop: &CancellationToken,
    ) -> Ended {
        let name = self.program.name;
        let (ended, status) = tokio::select! {
            status = child.wait() => (Ended::Died, status),
            _ = orders.changed() => {
                if let Err(error) = child.start_kill() {
                    self.timeline.note(&format!("{name} could not be killed: {error}"));
                }
                (Ended::Killed, child.wait().await)
            }
            () = stop.cancelled() => {
                if let Err(error) = end(child, name).await {
                    self.timeline.note(&format!("{name} could not be stopped: {error:#}"));
                }
                return Ended::Stopped;
            }
        };
        match status {
            Ok(status) => self.timeline.note(&format!("{name} died ({})", died(status))),
            Err(error) => self.timeline.note(&format!("{name} cannot be waited for: {error}")),
        }
        ended
    }

    fn armed(&self, point: Option<&str>) -> Program {
        let mut program = self.program.clone();
        if let Some(point) = point {
            let variable = bulkhead_failpoint::VARIABLE;
            let given = program.environment.iter().find(|(name, _)| name == variable);
            let all = given.map_or(point.to_owned(), |(_, names)| format!("{names},{point}"));
            program.environment.retain(|(name, _)| name != variable);
            program.environment.push((variable.to_owned(), all));
        }
        program
    }
}
