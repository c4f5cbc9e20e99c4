//! `bulkhead chaos run`: starts a Bulkhead of its own, lets agents and a person work with it, hurts it, and checks
//! what must hold whatever happens.
//!
//! Everything that is decided follows from the seed; what the processes make of it also depends on how they are
//! scheduled. Facts are collected outside the services where that can be done: by an observer of the files, by the
//! agents, and from the stores and the log once all have stopped.

mod agent;
mod claim;
mod clock;
mod disk;
mod drive;
mod evidence;
mod fault;
mod flood;
mod house;
mod invariants;
mod link;
mod model;
mod observer;
mod person;
mod plan;
mod probe;
mod record;
mod report;
mod timeline;
mod voice;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_telemetry::TelemetrySettings;
use clap::{Args, Subcommand};

use crate::client::exit::Exit;
use crate::data_folder::DataFolder;
use crate::up::{StopSignals, say};
use clock::Clock;
use disk::Disk;
use drive::Run;
use fault::Family;
use report::Report;
use timeline::Timeline;

const EXIT_CODES: &str = "Exit codes:
  0    every invariant held
  1    an invariant was broken; the seed and everything on disk are kept
  2    the run could not be made or judged
  130  stopped by Ctrl-C";

/// What `bulkhead chaos` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum ChaosCommand {
    /// Run a workload from a seed, inject faults from the same seed, and check what must hold.
    ///
    /// Uses a Bulkhead of its own in a temporary folder and a simulator for models; nothing that runs elsewhere is
    /// touched. The same seed, minutes and faults give the same plan; how processes are scheduled no seed decides, so
    /// a rare failure may need several runs of its seed.
    ///
    /// Example: bulkhead chaos run --seed 7 --minutes 2 --faults kill,pause,cut
    #[command(after_long_help = EXIT_CODES)]
    Run(RunArguments),
}

impl ChaosCommand {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Run(arguments) => arguments.run(),
        }
    }
}

/// Arguments of `bulkhead chaos run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Decides what agents do and what is injected when. Without it one is drawn, and printed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long faults are injected. Starting, draining and judging come on top.
    #[arg(long, value_name = "M", default_value_t = 1.0, value_parser = minutes)]
    minutes: f64,
    /// What may be injected, separated by commas; one that cannot be injected here is then an error. Without it,
    /// whatever can be.
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    faults: Option<Vec<Family>>,
    /// Keep everything in this folder, which must be empty or absent, also when all invariants held.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Failpoints of a build that has them, for every service: how a broken Bulkhead is made.
    #[arg(long, env = bulkhead_failpoint::VARIABLE, hide = true)]
    failpoints: Option<String>,
}

/// From six seconds, in which one fault can begin and end, to a day.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_error| "is no number".to_owned())?;
    if (0.1..=1_440.0).contains(&minutes) { Ok(minutes) } else { Err("must be from 0.1 to 1440".to_owned()) }
}

impl RunArguments {
    fn run(self) -> ExitCode {
        let ran = tokio::runtime::Runtime::new().context("cannot start a runtime").and_then(|runtime| {
            let entered = runtime.enter();
            let settings =
                TelemetrySettings { log_filter: Some("error".into()), ..TelemetrySettings::from_env() };
            let telemetry = bulkhead_telemetry::init("bulkhead-chaos", &settings)?;
            drop(entered);
            let ran = runtime.block_on(self.play());
            telemetry.shutdown();
            ran
        });
        match ran {
            Ok(Some(true)) => ExitCode::SUCCESS,
            Ok(Some(false)) => Exit::Failed.into(),
            Ok(None) => Exit::Interrupted.into(),
            Err(error) => {
                say(&format!("bulkhead chaos run: {error:#}"));
                Exit::Usage.into()
            }
        }
    }

    /// Whether everything held; none when it was stopped.
    async fn play(self) -> anyhow::Result<Option<bool>> {
        let mut signals = StopSignals::listen()?;
        let (families, left_out) = choose(self.faults.as_deref())?;
        let seed = self.seed.unwrap_or_else(rand::random);
        let length = Duration::from_secs_f64(self.minutes * 60.0);
        let folder = DataFolder::choose("chaos", self.data.clone(), None)?;
        say(&format!("Seed {seed}: a Bulkhead of its own in {}.", folder.path().display()));
        for reason in &left_out {
            say(&format!("Left out: {reason}."));
        }
        let again = self.again(seed, &families);
        let run = Run { seed, length, families, failpoints: self.failpoints.clone(), folder: folder.path() };
        let timeline = Timeline::begin();
        let evidence = match run.play(&mut signals, &timeline).await {
            Ok(Some(evidence)) => evidence,
            Ok(None) => {
                folder.settle(true);
                return Ok(None);
            }
            Err(error) => {
                folder.settle(false);
                return Err(error);
            }
        };
        let report = Report::of(seed, self.minutes, left_out, &evidence, &timeline);
        // Said and kept before it is printed: where nobody reads standard output any more, a breach must not be lost.
        let kept = report.keep(&run.folder);
        folder.settle(report.held);
        if !report.held {
            say(&format!("Seed {seed} broke it. Again: {again}"));
        }
        kept?;
        report.print(self.json)?;
        Ok(Some(report.held))
    }

    /// The same run once more. It names what was injected, since another machine may be able to inject something else
    /// and would make another plan of the seed.
    fn again(&self, seed: u64, families: &[Family]) -> String {
        let names: Vec<&str> = families.iter().map(|family| family.name()).collect();
        let broken = self
            .failpoints
            .as_ref()
            .map_or_else(String::new, |names| format!("{}={names} ", bulkhead_failpoint::VARIABLE));
        format!(
            "{broken}bulkhead chaos run --seed {seed} --minutes {} --faults {}",
            self.minutes,
            names.join(",")
        )
    }
}

/// What can be injected, and why the rest cannot.
fn choose(asked: Option<&[Family]>) -> anyhow::Result<(Vec<Family>, Vec<String>)> {
    let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
    for family in Family::ALL.into_iter().filter(|family| asked.is_none_or(|asked| asked.contains(family))) {
        match missing(family) {
            None => chosen.push(family),
            Some(what) => left_out.push(format!("{} ({what})", family.name())),
        }
    }
    anyhow::ensure!(asked.is_none() || left_out.is_empty(), "cannot inject {}", left_out.join(", "));
    Ok((chosen, left_out))
}

/// What a kind of fault needs and is not there.
fn missing(family: Family) -> Option<&'static str> {
    match family {
        Family::Kill | Family::Pause | Family::Cut | Family::Model => None,
        Family::Disk => (!Disk::can_be_mounted()).then_some("needs the right to mount a tmpfs"),
        Family::Clock => {
            Clock::library().is_none().then_some("needs libfaketime, Debian's package `faketime`")
        }
        Family::Crash => (!cfg!(feature = "failpoints")).then_some("needs a build with failpoints"),
    }
}
