//! The person who decides.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use bulkhead_proto::approval::v1::{Approval, Decision};
use serde_json::Value;

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
        // Not `lines()`, which would hide a carriage return.
        for line in effect["preview"].as_str().unwrap_or_default().split_terminator('\n') {
            text += &format!("    {}\n", harmless(line));
        }
    }
    Ok(text)
}

/// The line with everything spelt out that could make a terminal show something else than what would happen:
/// control characters, marks that reorder or hide text (Unicode's bidirectional and zero-width ones), and
/// trailing blanks.
pub(super) fn harmless(line: &str) -> String {
    let shown = line.trim_end_matches([' ', '\t']);
    let mut text: String = shown.chars().map(spelt_out).collect();
    text.extend(line[shown.len()..].chars().map(|blank| if blank == '\t' { '→' } else { '·' }));
    text
}

fn spelt_out(character: char) -> String {
    let hides = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if (character.is_control() && character != '\t') || hides {
        return format!("<U+{:04X}>", u32::from(character));
    }
    character.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mislead_a_reader_is_spelt_out() {
        let table = [
            ("+plain\ttext é", "+plain\ttext é"),
            ("+a\u{202e}b", "+a<U+202E>b"),
            ("+a\u{200b}", "+a<U+200B>"),
            ("+a\r", "+a<U+000D>"),
            ("+\u{1b}[2Jgone", "+<U+001B>[2Jgone"),
            ("+a \t", "+a·→"),
            ("", ""),
        ];
        for (line, shown) in table {
            assert_eq!(harmless(line), shown);
        }
    }
}
