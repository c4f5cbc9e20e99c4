//! What a script can tell from the exit code.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done,
    /// It certainly did not happen.
    Failed,
    /// The command line, or what it says, is wrong. clap's own code.
    Usage,
    /// People have to decide first.
    AwaitingApproval,
    /// The credential does not allow it.
    Refused,
    /// A later try may work.
    Unavailable,
    /// Nobody can say yet whether it happened.
    Unknown,
    /// Stopped by Ctrl-C; 128 plus the number of SIGINT, as shells say it.
    Interrupted,
}

/// The table, as `--help` shows it; docs/commands.md has the same rows.
pub(crate) const HELP: &str = "Exit codes:
  0    done
  1    it failed, was denied, expired or does not exist; nothing happened
  2    the command line or the request is wrong; nothing was sent or done
  3    it waits for people to decide; nothing has happened yet
  4    the credential is missing, wrong, or does not allow it
  5    a service is away or has no room; the same command may work later
  6    nobody knows whether it happened; the message says how to find out
  130  stopped by Ctrl-C; the message says what goes on without you";

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::AwaitingApproval => 3,
            Self::Refused => 4,
            Self::Unavailable => 5,
            Self::Unknown => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Exit; 8] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::AwaitingApproval,
        Exit::Refused,
        Exit::Unavailable,
        Exit::Unknown,
        Exit::Interrupted,
    ];

    #[test]
    fn every_code_has_one_row_in_the_help_and_the_same_in_the_documentation() {
        let documented = include_str!("../../../../docs/commands.md");
        let rows: Vec<(&str, &str)> =
            HELP.lines().skip(1).filter_map(|line| line.trim().split_once(' ')).collect();
        assert_eq!(rows.len(), ALL.len());
        for (exit, (code, meaning)) in ALL.into_iter().zip(rows) {
            assert_eq!(exit.code().to_string(), code);
            let row = format!("| {code} | {} |", meaning.trim());
            assert!(documented.contains(&row), "docs/commands.md has no row {row}");
        }
    }
}
