//! `fs.move`.

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use super::changes;
use crate::fs::arguments::{self, Shape};
use crate::fs::change::{Change, Kind};
use crate::fs::fault::fault;
use crate::fs::files::{self, Files};
use crate::fs::path::RelPath;
use crate::fs::plan;
use crate::tool::{
    Outcome, Planned, Reversibility, SensitivityLabel, Tool, ToolFault, ToolFaultKind, ToolSpec,
};

const SHAPE: Shape = Shape::TwoFiles;

/// Gives a file another name.
#[derive(Debug)]
pub(crate) struct Move {
    files: Files,
    spec: ToolSpec,
}

impl Move {
    pub(crate) fn new(files: Files) -> Self {
        let spec = ToolSpec {
            name: "fs.move",
            description: "Moves or renames one file within its root, never a folder, to a name where nothing is. \
                Folders on the way are created. It never replaces a file.",
            input_schema: SHAPE.schema(),
            reversibility: Reversibility::Reversible,
            returns_untrusted: false,
        };
        Self { files, spec }
    }

    /// What a file holds is known by its name. Under a name that says less, what only local models may see
    /// would be read as if anybody might.
    fn keeps_labels(&self, target: &str, from: &RelPath, to: &RelPath) -> Result<(), ToolFault> {
        let kept = self.files.labels_of(to);
        let lost = self.files.labels_of(from).into_iter().filter(|label| !kept.contains(label));
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
}

#[async_trait]
impl Tool for Move {
    fn describe(&self) -> &ToolSpec {
        &self.spec
    }

    fn summarise(&self, arguments: &Value) -> Value {
        arguments::summarise(arguments)
    }

    async fn plan(&self, arguments: &Value) -> Result<Planned, ToolFault> {
        let (root, read) = self.files.resolve(SHAPE, arguments)?;
        let Some(to) = read.to else {
            return Err(fault(ToolFaultKind::InvalidArguments, "`to` is missing. Give the new name."));
        };
        self.keeps_labels(&root.target(&read.path), &read.path, &to)?;
        let sensitivity = self.files.labels_of_both(&read.path, &to);
        let planned = files::reading(move || plan::moves::there(&root, &read.path, &to)).await?;
        Ok(Planned { sensitivity, ..planned })
    }

    async fn apply(&self, execution_id: Uuid, _: &Value, planned: &Planned) -> Outcome {
        changes::apply(&self.files, execution_id, planned, String::new()).await
    }

    /// What came under the name since it was given is known by that name alone, and goes back no more than it could
    /// have gone there. What was there before is known to have had both.
    async fn plan_undo(&self, id: Uuid, planned: &Planned, force: bool) -> Result<Planned, ToolFault> {
        let undo = changes::plan_undo(&self.files, id, planned, force).await?;
        let (there, back) = (Change::of(planned)?, Change::of(&undo)?);
        match &back.kind {
            Kind::Move { to, .. } if back.before() != there.after() => {
                self.keeps_labels(&back.target, &back.path, to)?;
            }
            _ => {}
        }
        Ok(undo)
    }

    async fn undo(&self, id: Uuid, origin: Uuid, planned: &Planned, undo_plan: &Planned) -> Outcome {
        changes::undo(&self.files, id, origin, planned, undo_plan).await
    }

    async fn reconcile(&self, id: Uuid, _: &Value, planned: &Planned, undoes: Option<Uuid>) -> Outcome {
        changes::reconcile(&self.files, id, planned, undoes).await
    }
}
