//! `fs.append`.

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use super::changes;
use crate::fs::arguments::{self, Shape};
use crate::fs::files::{self, Files};
use crate::fs::plan;
use crate::tool::{Outcome, Planned, Reversibility, Tool, ToolFault, ToolSpec};

const SHAPE: Shape = Shape::FileWithAddition;

/// Adds text to the end of a file.
#[derive(Debug)]
pub(crate) struct Append {
    files: Files,
    spec: ToolSpec,
}

impl Append {
    pub(crate) fn new(files: Files) -> Self {
        let spec = ToolSpec {
            name: "fs.append",
            description: "Adds text to the end of a file that is there. Everything in it stays. A file that is \
                not there is created with fs.write. If somebody changed the file at the same time, the call \
                ends as STALE and has added nothing: make it again.",
            input_schema: SHAPE.schema(),
            reversibility: Reversibility::Irreversible,
            returns_untrusted: false,
        };
        Self { files, spec }
    }
}

#[async_trait]
impl Tool for Append {
    fn describe(&self) -> &ToolSpec {
        &self.spec
    }

    fn summarise(&self, arguments: &Value) -> Value {
        arguments::summarise(arguments)
    }

    async fn plan(&self, arguments: &Value) -> Result<Planned, ToolFault> {
        let (root, read) = self.files.resolve(SHAPE, arguments)?;
        let content = read.content.unwrap_or_default().to_owned();
        let path = read.path.clone();
        let planned = files::reading(move || plan::append(&root, &path, &content)).await?;
        Ok(changes::labelled(&self.files, &read.path, planned))
    }

    async fn apply(&self, execution_id: Uuid, arguments: &Value, planned: &Planned) -> Outcome {
        match SHAPE.read(arguments) {
            Ok(read) => {
                let content = read.content.unwrap_or_default().to_owned();
                changes::apply(&self.files, execution_id, planned, content).await
            }
            Err(fault) => Outcome::Failed(fault),
        }
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
