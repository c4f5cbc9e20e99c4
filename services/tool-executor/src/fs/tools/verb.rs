//! The tools that change something: what each has of its own, and one tool around it.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use uuid::Uuid;

use super::changes;
use crate::fs::arguments::{self, Arguments, Shape};
use crate::fs::files::{self, Files};
use crate::fs::root::Root;
use crate::tool::{Outcome, Planned, Tool, ToolFault, ToolSpec};

/// Plans when it is called, off the async threads.
pub(crate) type Planning = Box<dyn FnOnce() -> Result<Planned, ToolFault> + Send>;

/// What a tool has of its own that changes one file. How a change is carried out, taken back and found out about does
/// not depend on it: that is read from the plan.
pub(crate) trait Verb: Send + Sync + 'static {
    /// Its arguments.
    const SHAPE: Shape;

    /// What models and people need to know of it, given the schema of its arguments.
    fn spec(input_schema: Value) -> ToolSpec;

    /// Looks at the arguments, and says what there is to plan.
    ///
    /// # Errors
    /// [`ToolFault`] when they cannot be what was meant.
    fn planning(files: &Files, root: Arc<Root>, read: Arguments<'_>) -> Result<Planning, ToolFault>;

    /// Refuses an undo that can be carried out and must not be.
    ///
    /// # Errors
    /// [`ToolFault`] with the reason.
    fn permit_undo(_files: &Files, _planned: &Planned, _undo: &Planned) -> Result<(), ToolFault> {
        Ok(())
    }
}

/// The tool of a verb.
pub(crate) struct Doing<V> {
    files: Files,
    spec: ToolSpec,
    verb: PhantomData<V>,
}

impl<V: Verb> Doing<V> {
    pub(crate) fn new(files: Files) -> Self {
        Self { files, spec: V::spec(V::SHAPE.schema()), verb: PhantomData }
    }
}

#[async_trait]
impl<V: Verb> Tool for Doing<V> {
    fn describe(&self) -> &ToolSpec {
        &self.spec
    }

    fn summarise(&self, arguments: &Value) -> Value {
        arguments::summarise(arguments)
    }

    async fn plan(&self, arguments: &Value) -> Result<Planned, ToolFault> {
        let (root, read) = self.files.resolve(V::SHAPE, arguments)?;
        let planned = files::reading(V::planning(&self.files, root, read)?).await?;
        changes::labelled(&self.files, planned)
    }

    async fn apply(&self, execution_id: Uuid, arguments: &Value, planned: &Planned) -> Outcome {
        match V::SHAPE.read(arguments) {
            Ok(read) => {
                let content = read.content.unwrap_or_default().to_owned();
                changes::apply(&self.files, execution_id, planned, content).await
            }
            Err(fault) => Outcome::Failed(fault),
        }
    }

    async fn plan_undo(&self, id: Uuid, planned: &Planned, force: bool) -> Result<Planned, ToolFault> {
        let undo = changes::plan_undo(&self.files, id, planned, force).await?;
        V::permit_undo(&self.files, planned, &undo)?;
        Ok(undo)
    }

    async fn undo(&self, id: Uuid, origin: Uuid, planned: &Planned, undo_plan: &Planned) -> Outcome {
        changes::undo(&self.files, id, origin, planned, undo_plan).await
    }

    async fn reconcile(&self, id: Uuid, _: &Value, planned: &Planned, undoes: Option<Uuid>) -> Outcome {
        changes::reconcile(&self.files, id, planned, undoes).await
    }
}
