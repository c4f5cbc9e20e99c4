//! The person who decides.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use bulkhead_proto::approval::v1::{Approval, Decision};
use serde_json::Value;

use crate::client::text::{block, harmless};
use crate::up::say;

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Person {
    /// Nobody is there; the answer is yes.
    SaysYes,
    /// Somebody at this terminal.
    Asked,
}

impl Person {
    /// # Errors
    /// When there is no terminal to ask at.
    pub(super) fn at_the_terminal() -> anyhow::Result<Self> {
        let there = std::io::stdin().is_terminal();
        anyhow::ensure!(there, "there is no terminal to ask at; pass --yes to approve what the demo asks");
        Ok(Self::Asked)
    }

    /// Shows what would happen, from the very bytes that the approval is bound to, and decides.
    pub(super) async fn decide(self, approval: &Approval) -> anyhow::Result<Decision> {
        say(&shown(approval)?);
        if self == Self::SaysYes {
            say("Approve? yes (--yes)");
            return Ok(Decision::Approve);
        }
        tokio::task::spawn_blocking(ask).await?
    }
}

fn ask() -> anyhow::Result<Decision> {
    write!(std::io::stderr(), "Approve? [y/N] ").context("cannot ask")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    let yes = matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    Ok(if yes { Decision::Approve } else { Decision::Deny })
}

fn shown(approval: &Approval) -> anyhow::Result<String> {
    let plan: Value = serde_json::from_str(&approval.plan_json).context("the plan is not JSON")?;
    let mut text = format!("\n  An agent wants to run {}:\n", plan["tool"].as_str().unwrap_or("a tool"));
    for effect in plan["effects"].as_array().into_iter().flatten() {
        let (kind, target) =
            (effect["kind"].as_str().unwrap_or("?"), effect["target"].as_str().unwrap_or("?"));
        text += &format!("  {} {}\n", harmless(kind), harmless(target));
        text += &block(effect["preview"].as_str().unwrap_or_default(), "    ");
    }
    Ok(text)
}
