//! Keeps one service running, except when it is to be down.

use std::sync::{Mutex, PoisonError};
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
    /// Whether it may run.
    allowed: watch::Sender<bool>,
    /// The process, while there is one.
    pid: watch::Receiver<Option<u32>>,
    /// What the next start is told to die at; taken by it.
    armed: std::sync::Arc<Mutex<Option<String>>>,
}

impl Keeper {
    pub(super) fn start(
        service: Service,
        program: Program,
        tracker: &TaskTracker,
        stop: CancellationToken,
        timeline: Timeline,
    ) -> Self {
        let (allowed, may_run) = watch::channel(true);
        let (running, pid) = watch::channel(None);
        let armed = std::sync::Arc::new(Mutex::new(None));
        let house = Kept { program, may_run, running, armed: armed.clone(), timeline };
        tracker.spawn(house.keep(stop));
        Self { service, allowed, pid, armed }
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
        self.allowed.send_replace(false);
        self.send(Signal::KILL);
    }

    /// Lets it run again.
    pub(super) fn release(&self) {
        self.allowed.send_replace(true);
    }

    pub(super) fn pause(&self) {
        self.send(Signal::STOP);
    }

    pub(super) fn resume(&self) {
        self.send(Signal::CONT);
    }

    /// Starts it again at once, told to die at a point.
    pub(super) fn arm(&self, point: &str) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some(point.to_owned());
        self.send(Signal::KILL);
    }

    /// Starts it again at once if it may still die at that point.
    pub(super) fn disarm(&self) {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.send(Signal::KILL);
    }

    fn send(&self, sent: Signal) {
        signal(*self.pid.borrow(), sent);
    }
}

/// The keeper's task.
struct Kept {
    program: Program,
    may_run: watch::Receiver<bool>,
    running: watch::Sender<Option<u32>>,
    armed: std::sync::Arc<Mutex<Option<String>>>,
    timeline: Timeline,
}

impl Kept {
    async fn keep(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                allowed = self.may_run.wait_for(|allowed| *allowed) => if allowed.is_err() { return },
            }
            let program = self.next_start();
            match start(&program, None).await {
                Ok((child, _)) => {
                    if !self.watch(child, &stop).await {
                        return;
                    }
                }
                Err(error) => self.timeline.note(&format!("{} did not start: {error:#}", program.name)),
            }
            tokio::select! { () = tokio::time::sleep(RESTART_PAUSE) => {}, () = stop.cancelled() => return }
        }
    }

    /// Until the process ends by itself, which is true, or is told to.
    async fn watch(&self, mut child: Child, stop: &CancellationToken) -> bool {
        let name = self.program.name;
        self.running.send_replace(child.id());
        let status = tokio::select! { status = child.wait() => status, () = stop.cancelled() => {
            if let Err(error) = end(child, name).await {
                self.timeline.note(&format!("{name} could not be stopped: {error:#}"));
            }
            return false;
        }};
        self.running.send_replace(None);
        match status {
            Ok(status) => self.timeline.note(&format!("{name} died ({})", died(status))),
            Err(error) => self.timeline.note(&format!("{name} cannot be waited for: {error}")),
        }
        true
    }

    fn next_start(&self) -> Program {
        let armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut program = self.program.clone();
        if let Some(point) = armed {
            let variable = bulkhead_failpoint::VARIABLE;
            let given = program.environment.iter().find(|(name, _)| name == variable);
            let all = given.map_or(point.clone(), |(_, names)| format!("{names},{point}"));
            program.environment.retain(|(name, _)| name != variable);
            program.environment.push((variable.to_owned(), all));
        }
        program
    }
}
