//! `fs.append`.

use std::sync::Arc;

use serde_json::Value;

use super::verb::{Planning, Verb};
use crate::fs::arguments::{Arguments, Shape};
use crate::fs::files::Files;
use crate::fs::plan;
use crate::fs::root::Root;
use crate::tool::{Reversibility, ToolFault, ToolSpec};

/// Adds text to the end of a file.
pub(crate) enum Append {}

impl Verb for Append {
    const SHAPE: Shape = Shape::FileWithAddition;

    fn spec(input_schema: Value) -> ToolSpec {
        ToolSpec {
            name: "fs.append",
            description: "Adds text to the end of a file that is there. Everything in it stays. A file that is \
                not there is created with fs.write. If somebody changed the file at the same time, the call \
                ends as STALE and has added nothing: make it again.",
            input_schema,
            reversibility: Reversibility::Irreversible,
            returns_untrusted: false,
        }
    }

    fn planning(_: &Files, root: Arc<Root>, read: Arguments<'_>) -> Result<Planning, ToolFault> {
        let content = read.content.unwrap_or_default().to_owned();
        Ok(Box::new(move || plan::append(&root, &read.path, &content)))
    }
}
