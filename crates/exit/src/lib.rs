//! How a process that cannot serve ends, for whoever started it.
//!
//! Promises a code of its own, out of sysexits(3), wherever a supervisor or a person would do something else than
//! elsewhere, and one code for everything about which they would do the same. Who knows what an error means says so
//! where it arises, with an [`Obstacle`]; nobody guesses from its text.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// How a service's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// For no reason that has a code: a defect, or something that the operating system refused. Starting again may
    /// help.
    Failed,
    /// What a store holds is damaged, was changed, or belongs to a newer version. Starting again does not help, and
    /// a backup or the right program does. `EX_DATAERR`: the data is incorrect.
    Damaged,
    /// Another process has the address or the store. Starting again helps once that one has ended.
    /// `EX_UNAVAILABLE`: something that is needed is not to be had.
    Taken,
    /// A store cannot be read or written: permissions, a full disk, a folder that is mounted read-only. Starting again
    /// helps once that is mended. `EX_IOERR`: input or output failed.
    Unusable,
    /// The configuration cannot work, or a file that it names. Starting again does not help before it is mended.
    /// `EX_CONFIG`.
    Misconfigured,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Damaged => 65,
            Self::Taken => 69,
            Self::Unusable => 74,
            Self::Misconfigured => 78,
        }
    }

    /// What a process that ended with this number meant; nothing for a number that none of ours ends with.
    #[must_use]
    pub fn of(code: i32) -> Option<Self> {
        let all = [Self::Failed, Self::Damaged, Self::Taken, Self::Unusable, Self::Misconfigured];
        all.into_iter().find(|exit| i32::from(exit.code()) == code)
    }

    /// Whether it ends in the same way until a person has changed something.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        match self {
            Self::Damaged | Self::Misconfigured => true,
            Self::Failed | Self::Taken | Self::Unusable => false,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error of which it is known how a process ends because of it. Reads like that error.
#[derive(Debug)]
pub struct Obstacle {
    exit: Exit,
    cause: Box<dyn Error + Send + Sync>,
}

impl Obstacle {
    /// Says how a process ends because of an error.
    pub fn new(exit: Exit, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, cause: cause.into() }
    }

    /// How it ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(formatter)
    }
}

impl Error for Obstacle {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_for_one_end() {
        for exit in [Exit::Failed, Exit::Damaged, Exit::Taken, Exit::Unusable, Exit::Misconfigured] {
            assert_eq!(Exit::of(exit.code().into()), Some(exit));
        }
        for foreign in [0, 2, 101, 127, 137, -1] {
            assert_eq!(Exit::of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn an_obstacle_reads_like_its_cause() {
        let cause = std::io::Error::other("a port is in use");
        let (said, because) = (cause.to_string(), cause.source().map(ToString::to_string));
        let obstacle = Obstacle::new(Exit::Taken, cause);
        assert_eq!((obstacle.to_string(), obstacle.source().map(ToString::to_string)), (said, because));
        assert_eq!(obstacle.exit(), Exit::Taken);
    }
}
