//! The six tools: arguments in, words for the model out.

pub(crate) mod append;
pub(crate) mod changes;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod moves;
pub(crate) mod read;
pub(crate) mod verb;
pub(crate) mod write;

use super::fault::fault;
use crate::tool::{
    Effect, EffectKind, Outcome, Planned, Precondition, Reversibility, ToolFault, ToolFaultKind,
};

/// The plan of a call that only looks.
fn read_only(kind: EffectKind, target: String, preview: String, sha256: Option<String>) -> Planned {
    let preconditions = sha256
        .iter()
        .map(|sha256| Precondition::FileSha256 { target: target.clone(), sha256: sha256.clone() })
        .collect();
    let (before_sha256, after_sha256) = (sha256.clone(), sha256);
    let effect = Effect { kind, target, destination: None, preview, before_sha256, after_sha256 };
    Planned {
        effects: vec![effect],
        preconditions,
        reversibility: Reversibility::ReadOnly,
        sensitivity: Vec::new(),
    }
}

/// A call that only looks has nothing to take back.
fn nothing_to_undo() -> ToolFault {
    fault(ToolFaultKind::NotUndoable, "Reading changed nothing: there is nothing to take back.")
}

/// A call that only looks can be made again, whatever became of it.
fn look_again() -> Outcome {
    let message = "The call was interrupted. It changes nothing; make it again.";
    Outcome::Failed(fault(ToolFaultKind::IoError, message))
}
