//! `fs.write`.

use std::sync::Arc;

use serde_json::Value;

use super::verb::{Planning, Verb};
use crate::fs::arguments::{Arguments, Shape};
use crate::fs::files::Files;
use crate::fs::plan;
use crate::fs::root::Root;
use crate::tool::{Reversibility, ToolFault, ToolSpec};

/// Creates a file, or replaces the whole content of one.
pub(crate) enum Write {}

impl Verb for Write {
    const SHAPE: Shape = Shape::FileWithContent;

    fn spec(input_schema: Value) -> ToolSpec {
        ToolSpec {
            name: "fs.write",
            description: "Writes a text file. A file that is not there is created, with the folders on its \
                way; one that is there is replaced as a whole, which usually has to be approved. Read a \
                file before replacing it. Writing the content that it has already is still an overwrite.",
            input_schema,
            reversibility: Reversibility::Irreversible,
            returns_untrusted: false,
        }
    }

    fn planning(_: &Files, root: Arc<Root>, read: Arguments<'_>) -> Result<Planning, ToolFault> {
        let content = read.content.unwrap_or_default().to_owned();
        Ok(Box::new(move || plan::write(&root, &read.path, &content)))
    }
}
