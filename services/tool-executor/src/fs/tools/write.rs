//! `fs.write`.

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use super::changes;
use crate::fs::arguments::{self, Shape};
use crate::fs::files::{self, Files};
use crate::fs::plan;
use crate::tool::{Outcome, Planned, Reversibility, Tool, ToolFault, ToolSpec};

const SHAPE: Shape = Shape::FileWithContent;

/// Creates a file, or replaces the whole content of one.
#[derive(Debug)]
pub(crate) struct Write {
    files: Files,
    spec: ToolSpec,
}

impl Write {
    pub(crate) fn new(files: Files) -> Self {
        let spec = ToolSpec {
            name: "fs.write",
            description: "Writes a text file. A file that is not there is created, with the folders on its \
                way; one that is there is replaced as a whole, which usually has to be approved. Read a \
                file before replacing it. Writing the content that it has already is still an overwrite.",
            input_schema: SHAPE.schema(),
            reversibility: Reversibility::Irreversible,
            returns_untrusted: false,
        };
        Self { files, spec }
    }
}

#[async_trait]
impl Tool for Write {
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
        let planned = files::reading(move || plan::write(&root, &path, &content)).await?;
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
