//! One change of one file, as a plan states it. Pure.

use super::fault::fault;
use super::path::RelPath;
use crate::tool::{Effect, EffectKind, Planned, Reversibility, ToolFault, ToolFaultKind};

/// A change that was planned, read back from its plan. Plans are what was shown and hashed, so nothing is
/// taken from anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// What happens.
    pub(crate) kind: Kind,
    /// `root/path`.
    pub(crate) target: String,
    /// The root's name.
    pub(crate) root: String,
    /// Below the root; never the root itself.
    pub(crate) path: RelPath,
    /// Whether what is displaced is kept for an undo.
    pub(crate) keep: bool,
}

/// What happens to the file, with the hashes that decide whether it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It appears.
    Create {
        /// Its content.
        after: String,
    },
    /// Its content is exchanged.
    Overwrite {
        /// The content that must still be there.
        before: String,
        /// The content afterwards.
        after: String,
    },
    /// Something is added to its end.
    Append {
        /// The content that must still be there.
        before: String,
        /// The content afterwards.
        after: String,
    },
    /// It goes to where nothing is.
    Move {
        /// The content that must still be there, and comes along.
        content: String,
        /// Below the root.
        to: RelPath,
        /// `root/path`.
        destination: String,
    },
    /// It goes away.
    Delete {
        /// The content that must still be there.
        before: String,
    },
}

/// Where new content comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// From the arguments.
    Bytes(&'a [u8]),
    /// What is there, and from the arguments what comes after it.
    Addition(&'a [u8]),
    /// From the undo copy of an earlier execution.
    CopyOf(uuid::Uuid),
}

impl Change {
    /// Reads the plan of one change or undo.
    pub(crate) fn of(planned: &Planned) -> Result<Self, ToolFault> {
        let [effect] = planned.effects.as_slice() else { return Err(foreign()) };
        let (root, path) = place(&effect.target).ok_or_else(foreign)?;
        let kind = kind(effect, &root).ok_or_else(foreign)?;
        let keep = planned.reversibility == Reversibility::Reversible;
        Ok(Self { kind, target: effect.target.clone(), root, path, keep })
    }

    /// The content afterwards.
    pub(crate) fn after(&self) -> Option<&str> {
        match &self.kind {
            Kind::Create { after } | Kind::Overwrite { after, .. } | Kind::Append { after, .. } => {
                Some(after)
            }
            Kind::Move { content, .. } => Some(content),
            Kind::Delete { .. } => None,
        }
    }

    /// The content that must be there before.
    pub(crate) fn before(&self) -> Option<&str> {
        match &self.kind {
            Kind::Overwrite { before, .. } | Kind::Append { before, .. } | Kind::Delete { before } => {
                Some(before)
            }
            Kind::Move { content, .. } => Some(content),
            Kind::Create { .. } => None,
        }
    }

    /// What the `content` of a call is to this change.
    pub(crate) fn source<'a>(&self, content: &'a [u8]) -> Source<'a> {
        match self.kind {
            Kind::Append { .. } => Source::Addition(content),
            Kind::Create { .. } | Kind::Overwrite { .. } | Kind::Move { .. } | Kind::Delete { .. } => {
                Source::Bytes(content)
            }
        }
    }

    /// Where the file is afterwards, or would be: `root/path`.
    pub(crate) fn arrives(&self) -> &str {
        match &self.kind {
            Kind::Move { destination, .. } => destination,
            Kind::Create { .. } | Kind::Overwrite { .. } | Kind::Append { .. } | Kind::Delete { .. } => {
                &self.target
            }
        }
    }

    /// In the past, for people and models.
    pub(crate) fn done(&self) -> String {
        let verb = match self.kind {
            Kind::Create { .. } => "Created",
            Kind::Overwrite { .. } => "Overwrote",
            Kind::Append { .. } => "Appended to",
            Kind::Move { .. } => "Moved",
            Kind::Delete { .. } => "Deleted",
        };
        let to = match &self.kind {
            Kind::Move { destination, .. } => format!(" to {destination}"),
            Kind::Create { .. } | Kind::Overwrite { .. } | Kind::Append { .. } | Kind::Delete { .. } => {
                String::new()
            }
        };
        let hash = self.after().map(|sha256| format!(" (sha256 {sha256})")).unwrap_or_default();
        let undo = if self.keep { "It can be undone." } else { "It cannot be undone." };
        format!("{verb} {}{to}{hash}. {undo}", self.target)
    }
}

/// The root's name, and the path below it.
fn place(target: &str) -> Option<(String, RelPath)> {
    let (root, path) = target.split_once('/')?;
    let path = RelPath::parse(path).ok()?;
    path.split()?;
    Some((root.to_owned(), path))
}

fn kind(effect: &Effect, root: &str) -> Option<Kind> {
    let (before, after) = (effect.before_sha256.clone(), effect.after_sha256.clone());
    match (effect.kind, &effect.destination, before, after) {
        (EffectKind::FileCreate, None, None, Some(after)) => Some(Kind::Create { after }),
        (EffectKind::FileOverwrite, None, Some(before), Some(after)) => {
            Some(Kind::Overwrite { before, after })
        }
        (EffectKind::FileAppend, None, Some(before), Some(after)) => Some(Kind::Append { before, after }),
        (EffectKind::FileDelete, None, Some(before), None) => Some(Kind::Delete { before }),
        (EffectKind::FileMove, Some(destination), Some(before), Some(after)) if before == after => {
            let (in_root, to) = place(destination)?;
            (in_root == root).then(|| Kind::Move { content: before, to, destination: destination.clone() })
        }
        _ => None,
    }
}

fn foreign() -> ToolFault {
    fault(ToolFaultKind::InvalidArguments, "This plan is none of a file change. Plan the call again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(kind: EffectKind, target: &str, before: Option<&str>, after: Option<&str>) -> Planned {
        let effect = Effect {
            kind,
            target: target.to_owned(),
            destination: None,
            preview: String::new(),
            before_sha256: before.map(str::to_owned),
            after_sha256: after.map(str::to_owned),
        };
        Planned {
            effects: vec![effect],
            preconditions: vec![],
            reversibility: Reversibility::Reversible,
            sensitivity: vec![],
        }
    }

    #[test]
    fn a_plan_reads_back_as_the_change_it_states() {
        let change = Change::of(&planned(EffectKind::FileOverwrite, "w/a/b", Some("1"), Some("2")));
        let change = change.expect("a change");
        assert_eq!((change.root.as_str(), change.path.to_string().as_str()), ("w", "a/b"));
        assert_eq!((change.before(), change.after()), (Some("1"), Some("2")));
    }

    fn moved(to: &str, after: &str) -> Planned {
        let mut planned = planned(EffectKind::FileMove, "w/a", Some("1"), Some(after));
        for effect in &mut planned.effects {
            effect.destination = Some(to.to_owned());
        }
        planned
    }

    #[test]
    fn a_move_reads_back_with_both_its_names() {
        let change = Change::of(&moved("w/b/c", "1")).expect("a change");
        assert_eq!((change.target.as_str(), change.arrives()), ("w/a", "w/b/c"));
        assert_eq!(change.done(), "Moved w/a to w/b/c (sha256 1). It can be undone.");
    }

    #[test]
    fn a_plan_that_is_no_change_of_a_file_is_refused() {
        let table = [
            moved("w/b", "2"),
            moved("v/b", "1"),
            moved("w/../b", "1"),
            planned(EffectKind::FileMove, "w/a", Some("1"), Some("1")),
            planned(EffectKind::FileAppend, "w/a", None, Some("1")),
            planned(EffectKind::FileRead, "w/a", Some("1"), Some("1")),
            planned(EffectKind::FileCreate, "w/a", Some("1"), Some("2")),
            planned(EffectKind::FileDelete, "w/a", None, None),
            planned(EffectKind::FileCreate, "w/../a", None, Some("1")),
            planned(EffectKind::FileCreate, "w/.bulkhead/undo/x", None, Some("1")),
            planned(EffectKind::FileCreate, "w/", None, Some("1")),
            planned(EffectKind::FileCreate, "w", None, Some("1")),
            Planned { effects: vec![], ..planned(EffectKind::FileCreate, "w/a", None, Some("1")) },
        ];
        for plan in table {
            assert_eq!(
                Change::of(&plan).expect_err("refused").kind,
                ToolFaultKind::InvalidArguments,
                "{plan:?}"
            );
        }
    }
}
