//! `fs.delete`.

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use super::changes;
use crate::fs::arguments::{self, Shape};
use crate::fs::files::{self, Files};
use crate::fs::plan;
use crate::tool::{Outcome, Planned, Reversibility, Tool, ToolFault, ToolSpec};

const SHAPE: Shape = Shape::File;

/// Removes a file.
#[derive(Debug)]
pub(crate) struct Delete {
    files: Files,
    spec: ToolSpec,
}

impl Delete {
    pub(crate) fn new(files: Files) -> Self {
        let spec = ToolSpec {
            name: "fs.delete",
            description: "Deletes one file, never a folder. This usually has to be approved. The content is \
                kept for a while, so that the deletion can be undone.",
            input_schema: SHAPE.schema(),
            reversibility: Reversibility::Irreversible,
            returns_untrusted: false,
        };
        Self { files, spec }
    }
}

#[async_trait]
impl Tool for Delete {
    fn describe(&self) -> &ToolSpec {
        &self.spec
    }

    fn summarise(&self, arguments: &Value) -> Value {
        arguments::summarise(arguments)
    }

    async fn plan(&self, arguments: &Value) -> Result<Planned, ToolFault> {
        let (root, read) = self.files.resolve(SHAPE, arguments)?;
        let path = read.path.clone();
        let planned = files::reading(move || plan::delete(&root, &path)).await?;
        Ok(changes::labelled(&self.files, &read.path, planned))
    }

    async fn apply(&self, execution_id: Uuid, _: &Value, planned: &Planned) -> Outcome {
        changes::apply(&self.files, execution_id, planned, String::new()).await
    }

    async fn plan_undo(&self, id: Uuid, planned: &Planned, force: bool) -> Result<Planned, ToolFault> {
        changes::plan_undo(&self.files, id, planned, force).await
    }

    async fn undo(&self, id: Uuid, origin: Uuid, planned: &Planned, undo_plan: &Planned) -> Outcome {
        changes::undo(&self.files, id, origin, planned, undo_plan).await
    }

    async fn reconcile(&self, id: Uuid, _: &Value, planned: &Planned, undoes: Option<Uuid>) -> Outcome {
        changes::reconcile(&self.files, id, planned, undoes).await
    }
}
