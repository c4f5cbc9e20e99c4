//! `fs.move`.

use std::sync::Arc;

use serde_json::Value;

use super::verb::{Planning, Verb};
use crate::fs::arguments::{Arguments, Shape};
use crate::fs::change::{Change, Kind};
use crate::fs::fault::fault;
use crate::fs::files::Files;
use crate::fs::path::RelPath;
use crate::fs::plan;
use crate::fs::root::Root;
use crate::tool::{Planned, Reversibility, SensitivityLabel, ToolFault, ToolFaultKind, ToolSpec};

/// Gives a file another name.
pub(crate) enum Move {}

impl Verb for Move {
    const SHAPE: Shape = Shape::TwoFiles;

    fn spec(input_schema: Value) -> ToolSpec {
        ToolSpec {
            name: "fs.move",
            description: "Moves or renames one file within its root, never a folder, to a name where nothing is. \
                Folders on the way are created. It never replaces a file.",
            input_schema,
            reversibility: Reversibility::Reversible,
            returns_untrusted: false,
        }
    }

    fn planning(files: &Files, root: Arc<Root>, read: Arguments<'_>) -> Result<Planning, ToolFault> {
        let Some(to) = read.to else {
            return Err(fault(ToolFaultKind::InvalidArguments, "`to` is missing. Give the new name."));
        };
        keeps_labels(files, &root.target(&read.path), &read.path, &to)?;
        Ok(Box::new(move || plan::moves::there(&root, &read.path, &to)))
    }

    /// What came under the name since it was given is known by that name alone, and goes back no more than it could
    /// have gone there. What was there before is known to have had both.
    fn permit_undo(files: &Files, planned: &Planned, undo: &Planned) -> Result<(), ToolFault> {
        let (there, back) = (Change::of(planned)?, Change::of(undo)?);
        match &back.kind {
            Kind::Move { to, .. } if back.before() != there.after() => {
                keeps_labels(files, &back.target, &back.path, to)
            }
            _ => Ok(()),
        }
    }
}

/// What a file holds is known by its name. Under a name that says less, what only local models may see would be read as
/// if anybody might.
fn keeps_labels(files: &Files, target: &str, from: &RelPath, to: &RelPath) -> Result<(), ToolFault> {
    let kept = files.labels_of(to);
    let lost = files.labels_of(from).into_iter().filter(|label| !kept.contains(label));
    let lost: Vec<_> = lost.map(SensitivityLabel::name).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{target} is known by its name to hold {}, and the new name would hide that. Choose a name that says \
         so too, such as the same file name in another folder.",
        lost.join(", ")
    );
    Err(fault(ToolFaultKind::PathNotAllowed, message))
}
