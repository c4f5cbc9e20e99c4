//! `fs.delete`.

use std::sync::Arc;

use serde_json::Value;

use super::verb::{Planning, Verb};
use crate::fs::arguments::{Arguments, Shape};
use crate::fs::files::Files;
use crate::fs::plan;
use crate::fs::root::Root;
use crate::tool::{Reversibility, ToolFault, ToolSpec};

/// Removes a file.
pub(crate) enum Delete {}

impl Verb for Delete {
    const SHAPE: Shape = Shape::File;

    fn spec(input_schema: Value) -> ToolSpec {
        ToolSpec {
            name: "fs.delete",
            description: "Deletes one file, never a folder. This usually has to be approved. The content is \
                kept for a while, so that the deletion can be undone.",
            input_schema,
            reversibility: Reversibility::Irreversible,
            returns_untrusted: false,
        }
    }

    fn planning(_: &Files, root: Arc<Root>, read: Arguments<'_>) -> Result<Planning, ToolFault> {
        Ok(Box::new(move || plan::delete(&root, &read.path)))
    }
}
