//! What is done to a running Bulkhead. Pure.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::serve::Service;

/// Kinds of faults, as they are chosen on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(super) enum Family {
    /// kill -9, and a restart after a delay.
    Kill,
    /// SIGSTOP, and SIGCONT after a while: the process is there and says nothing.
    Pause,
    /// One service cannot reach another: refused, or swallowed without a word.
    Cut,
    /// The first model of the chain fails or hangs.
    Model,
    /// No room on the disk that a service keeps its store on. Needs the right to mount a small tmpfs.
    Disk,
    /// The clock of one service jumps. Needs libfaketime.
    Clock,
    /// The process dies at a named point in its work. Needs a build with failpoints.
    Crash,
}

impl Family {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Kill, Self::Pause, Self::Cut, Self::Model, Self::Disk, Self::Clock, Self::Crash];

    /// Its name on the command line and in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::Model => "model",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Crash => "crash",
        }
    }
}

/// Who calls whom, and can be kept from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Wire {
    /// Who calls.
    pub(super) from: Service,
    /// Who is called.
    pub(super) to: Service,
}

impl Wire {
    /// Every pair of services of which one calls the other.
    pub(super) const ALL: [Self; 4] = [
        Self { from: Service::ToolExecutor, to: Service::Approval },
        Self { from: Service::ToolExecutor, to: Service::Audit },
        Self { from: Service::Approval, to: Service::Audit },
        Self { from: Service::ModelRouter, to: Service::Audit },
    ];
}

/// How a wire is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cut {
    /// Connections are closed at once.
    Refusing,
    /// Nothing passes and nothing is said, as with a firewall that drops.
    Silent,
}

/// How a model is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ModelOutage {
    /// It resets connections.
    Resets,
    /// It answers 529, overloaded.
    Overloaded,
    /// It takes the request and says nothing.
    Silent,
}

/// A place at which a process can be made to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CrashPoint {
    /// Whose.
    pub(super) service: Service,
    /// The failpoint.
    pub(super) name: &'static str,
}

/// One thing that is done, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    /// [`Family::Kill`].
    Kill(Service),
    /// [`Family::Pause`].
    Pause(Service),
    /// [`Family::Cut`].
    Cut(Wire, Cut),
    /// [`Family::Model`].
    Model(ModelOutage),
    /// [`Family::Disk`].
    FillDisk(Service),
    /// [`Family::Clock`], by so many seconds.
    StepClock(Service, i32),
    /// [`Family::Crash`], at the n-th pass through the point.
    Crash(CrashPoint, u32),
}

impl Fault {
    /// Its kind.
    pub(super) fn family(self) -> Family {
        match self {
            Self::Kill(_) => Family::Kill,
            Self::Pause(_) => Family::Pause,
            Self::Cut(..) => Family::Cut,
            Self::Model(_) => Family::Model,
            Self::FillDisk(_) => Family::Disk,
            Self::StepClock(..) => Family::Clock,
            Self::Crash(..) => Family::Crash,
        }
    }

    /// Whether two faults would get into each other's way, as a kill and a pause of one service do.
    pub(super) fn collides(self, other: Self) -> bool {
        match (self.process(), other.process()) {
            (Some(one), Some(another)) => one == another,
            // Two clocks that are apart by more than the verifier's minute would be its finding, not a fault; and
            // the first model of the chain is one.
            _ => {
                let family = self.family();
                self == other || family == other.family() && matches!(family, Family::Clock | Family::Model)
            }
        }
    }

    /// The service whose process it is about.
    fn process(self) -> Option<Service> {
        match self {
            Self::Kill(service) | Self::Pause(service) => Some(service),
            Self::Crash(point, _) => Some(point.service),
            Self::Cut(..) | Self::Model(_) | Self::FillDisk(_) | Self::StepClock(..) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(service) => write!(f, "kill -9 {}", service.name()),
            Self::Pause(service) => write!(f, "pause {}", service.name()),
            Self::Cut(Wire { from, to }, how) => {
                let how = match how {
                    Cut::Refusing => "refused",
                    Cut::Silent => "swallowed",
                };
                write!(f, "cut {} from {} ({how})", from.name(), to.name())
            }
            Self::Model(how) => {
                let how = match how {
                    ModelOutage::Resets => "resets connections",
                    ModelOutage::Overloaded => "answers 529",
                    ModelOutage::Silent => "says nothing",
                };
                write!(f, "the first model {how}")
            }
            Self::FillDisk(service) => write!(f, "fill the disk of {}", service.name()),
            Self::StepClock(service, seconds) => {
                write!(f, "step the clock of {} by {seconds:+} s", service.name())
            }
            Self::Crash(CrashPoint { service, name }, pass) => {
                write!(f, "let {} die at {name}, pass {pass}", service.name())
            }
        }
    }
}

/// A fault and when it is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Injection {
    /// What.
    pub(super) fault: Fault,
    /// From when, counted from the start of the run.
    pub(super) at: Duration,
    /// For how long.
    pub(super) lasting: Duration,
}
