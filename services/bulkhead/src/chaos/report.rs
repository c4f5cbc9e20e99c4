//! What a run came to, for people and for programs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::claim::Call;
use super::evidence::Evidence;
use super::invariants::{Judged, judge};
use super::plan::acts::Deed;
use super::probe::Look;
use super::timeline::{Note, Timeline};

/// The report in the folder of a run.
const FILE: &str = "report.json";
/// Breaches of one invariant that are printed; JSON has them all.
const SHOWN_MAX: usize = 12;

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every invariant held.
    pub(super) held: bool,
    seed: u64,
    minutes: f64,
    /// Kinds of faults that could not be injected.
    left_out: Vec<String>,
    /// What was injected and seen, in order.
    timeline: Vec<Note>,
    /// What the agents did and how it ended.
    acts: BTreeMap<String, BTreeMap<String, usize>>,
    /// Error answers on the way, and how often each came.
    answers: BTreeMap<String, u64>,
    /// What went on and what stopped while something was out.
    looks: Vec<Look>,
    /// Lines in the audit log.
    log_lines: u64,
    invariants: Vec<Judged>,
}

impl Report {
    /// Judges the facts.
    pub(super) fn of(
        seed: u64,
        minutes: f64,
        left_out: Vec<String>,
        evidence: &Evidence,
        timeline: &Timeline,
    ) -> Self {
        let invariants = judge(evidence);
        Self {
            held: invariants.iter().all(Judged::holds),
            seed,
            minutes,
            left_out,
            timeline: timeline.notes(),
            acts: acts(evidence),
            answers: evidence.errors.clone(),
            looks: evidence.looks.clone(),
            log_lines: evidence.records.log_lines,
            invariants,
        }
    }

    /// Prints it to standard output.
    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let text = if json { serde_json::to_string_pretty(self)? } else { self.text() };
        writeln!(std::io::stdout(), "{}", text.trim_end()).context("cannot print the report")
    }

    /// Leaves it beside what it tells of.
    pub(super) fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(folder.join(FILE), json).context("cannot keep the report")
    }

    fn text(&self) -> String {
        let mut text = format!(
            "\nSeed {}, {} minute(s): what was injected, and what was seen\n",
            self.seed, self.minutes
        );
        for note in &self.timeline {
            text += &format!("  {note}\n");
        }
        text += &format!("\nWhat was done, over {} lines of the audit log\n", self.log_lines);
        for (deed, endings) in &self.acts {
            let endings: Vec<String> =
                endings.iter().map(|(ending, times)| format!("{times} {ending}")).collect();
            text += &format!("  {deed:<10} {}\n", endings.join(", "));
        }
        text += "\nErrors that were answered on the way\n";
        for (answer, times) in &self.answers {
            text += &format!("  {times:>6}  {answer}\n");
        }
        let held = self.looks.iter().filter(|look| look.holds).count();
        text += &format!(
            "\nLooked {} time(s) at what goes on and what stops: {held} as it should be\n",
            self.looks.len()
        );
        text += "\nWhat must hold\n";
        for judged in &self.invariants {
            let mark = if judged.holds() { "held  " } else { "BROKEN" };
            text += &format!("  {mark}  {:<10} {} ({} checked)\n", judged.name, judged.claim, judged.checked);
            for breach in judged.breaches.iter().take(SHOWN_MAX) {
                text += &format!("          {breach}\n");
            }
            let more = judged.breaches.len().saturating_sub(SHOWN_MAX);
            if more > 0 {
                text += &format!("          and {more} more\n");
            }
        }
        text
    }
}

fn acts(evidence: &Evidence) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut acts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut count = |deed: &str, ending: &str| {
        *acts.entry(deed.to_owned()).or_default().entry(ending.to_owned()).or_default() += 1;
    };
    for claim in &evidence.claims {
        for call in &claim.calls {
            count(word(claim.deed), ending(call));
        }
        if let Some(undo) = &claim.undo {
            count("undo", ending(undo));
        }
    }
    for asked in &evidence.asked {
        count("ask", if asked.answered { "answered" } else { "given up" });
    }
    acts
}

fn word(deed: Deed) -> &'static str {
    match deed {
        Deed::Append => "append",
        Deed::Create => "create",
        Deed::Move => "move",
        Deed::Delete(_) => "delete",
        Deed::Twins => "twins",
        Deed::Changed => "changed",
        Deed::Ask => "ask",
    }
}

/// In the words of the contract, or that there were none.
fn ending(call: &Call) -> &str {
    if call.words.is_empty() { "never heard of" } else { &call.words }
}
