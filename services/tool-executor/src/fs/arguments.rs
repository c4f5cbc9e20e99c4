//! The arguments of the file tools: their schemas, their reading, and what the audit log may know of them.
//! Pure. No error and no summary ever repeats a value that is not a valid path or root.

use serde_json::{Map, Value, json};

use super::fault::fault;
use super::path::RelPath;
use crate::tool::{ToolFault, ToolFaultKind};

/// Arguments of every file tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments<'a> {
    /// The root's name; none: the only one there is.
    pub(crate) root: Option<&'a str>,
    /// Below the root; of a move, where the file is.
    pub(crate) path: RelPath,
    /// Where a move goes.
    pub(crate) to: Option<RelPath>,
    /// What to write.
    pub(crate) content: Option<&'a str>,
}

/// Which arguments a tool takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `path` may be left out and then means the root.
    Folder,
    /// `path` names a file.
    File,
    /// The same, with `content`.
    FileWithContent,
    /// The same, with `content` that is not empty.
    FileWithAddition,
    /// `from` and `to` name files.
    TwoFiles,
}

impl Shape {
    /// JSON Schema, draft 2020-12.
    pub(crate) fn schema(self) -> Value {
        let mut properties = json!({
            "root": {"type": "string", "description": "Name of the root. May be left out when there is only one."},
        });
        for key in self.paths() {
            let description = self.path_description(key);
            properties[*key] = json!({"type": "string", "maxLength": 1024, "description": description});
        }
        match self {
            Self::FileWithContent => {
                let description = "The complete new content, as text. Nothing of the old content is kept.";
                properties["content"] = json!({"type": "string", "description": description});
            }
            Self::FileWithAddition => {
                let description = "The text to add, exactly: no line break is put before or after it.";
                properties["content"] = json!({"type": "string", "minLength": 1, "description": description});
            }
            Self::Folder | Self::File | Self::TwoFiles => {}
        }
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": self.required(),
            "additionalProperties": false,
        })
    }

    fn path_description(self, key: &str) -> &'static str {
        match (self, key) {
            (Self::Folder, _) => {
                "Folder, relative to the root, such as notes/2026. Left out: the root itself."
            }
            (_, "to") => {
                "Its new name with all folders on the way, relative to the root, such as done/a.md. Nothing may be there."
            }
            _ => {
                "File, relative to the root, such as notes/a.md. No leading slash, no `..`, no symbolic links."
            }
        }
    }

    /// The arguments that are paths.
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::TwoFiles => &["from", "to"],
            Self::Folder | Self::File | Self::FileWithContent | Self::FileWithAddition => &["path"],
        }
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Folder => &[],
            Self::File => &["path"],
            Self::FileWithContent | Self::FileWithAddition => &["path", "content"],
            Self::TwoFiles => &["from", "to"],
        }
    }

    /// Reads arguments.
    pub(crate) fn read(self, arguments: &Value) -> Result<Arguments<'_>, ToolFault> {
        let object =
            arguments.as_object().ok_or_else(|| self.wrong("The arguments are not a JSON object"))?;
        let known =
            |key: &str| key == "root" || self.paths().contains(&key) || self.required().contains(&key);
        if !object.keys().all(|key| known(key)) {
            return Err(self.wrong("There is an argument that this tool does not have"));
        }
        let content = self.text(object, "content")?;
        if self == Self::FileWithAddition && content == Some("") {
            return Err(self.wrong("`content` is empty, so there is nothing to add"));
        }
        let mut paths = self.paths().iter().map(|key| self.path(object, key));
        let path = paths.next().transpose()?.ok_or_else(|| self.wrong("There is no path"))?;
        let to = paths.next().transpose()?;
        Ok(Arguments { root: self.text(object, "root")?, path, to, content })
    }

    fn path(self, object: &Map<String, Value>, key: &str) -> Result<RelPath, ToolFault> {
        let path = RelPath::parse(self.text(object, key)?.unwrap_or_default()).map_err(|problem| {
            fault(ToolFaultKind::PathNotAllowed, format!("The {} {problem}.", noun(key)))
        })?;
        if self != Self::Folder && path.split().is_none() {
            let next = "Name a file in it; fs.list shows which there are.";
            let message = format!("The {} names the root itself. {next}", noun(key));
            return Err(fault(ToolFaultKind::WrongFileType, message));
        }
        Ok(path)
    }

    fn text<'a>(self, object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, ToolFault> {
        match object.get(key) {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(&format!("`{key}` is not a string"))),
            None if self.required().contains(&key) => Err(self.wrong(&format!("`{key}` is missing"))),
            None => Ok(None),
        }
    }

    fn wrong(self, problem: &str) -> ToolFault {
        let keys = if self == Self::Folder { self.paths() } else { self.required() };
        let given: Vec<_> = keys.iter().map(|key| format!("`{key}` (string)")).collect();
        let message = format!("{problem}. Give {} and, if asked for, `root` (string).", given.join(", "));
        fault(ToolFaultKind::InvalidArguments, message)
    }
}

/// Arguments as the audit log may have them: root and path where they are valid, size and hash of content.
pub(crate) fn summarise(arguments: &Value) -> Value {
    let mut summary = Map::new();
    let text = |key: &str| arguments.get(key).and_then(Value::as_str);
    for key in ["path", "from", "to"] {
        if let Some(path) = arguments.get(key) {
            summary.insert(key.to_owned(), path_summary(path));
        }
    }
    if let Some(root) = text("root") {
        let root = if is_root_name(root) { root } else { "(not valid)" };
        summary.insert("root".to_owned(), json!(root));
    }
    if let Some(content) = text("content") {
        summary.insert("content_bytes".to_owned(), json!(content.len()));
        summary.insert("content_sha256".to_owned(), json!(bulkhead_canonical_json::sha256_hex(content)));
    }
    Value::Object(summary)
}

/// What a path is called in a fault.
fn noun(key: &str) -> String {
    if key == "path" { key.to_owned() } else { format!("path `{key}`") }
}

fn path_summary(path: &Value) -> Value {
    match path.as_str().map(RelPath::parse) {
        Some(Ok(path)) => json!(path.to_string()),
        _ => json!("(not valid)"),
    }
}

/// As configured names are; the length keeps content out that was put into the wrong argument.
fn is_root_name(root: &str) -> bool {
    root.len() <= 32 && root.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_arguments_are_read() {
        let value = json!({"path": "./a//b", "content": "x", "root": "w"});
        let read = Shape::FileWithContent.read(&value).expect("good");
        assert_eq!((read.root, read.path.to_string().as_str(), read.content), (Some("w"), "a/b", Some("x")));
        assert_eq!(Shape::Folder.read(&json!({})).expect("the root").path.to_string(), "");
        let value = json!({"from": "a", "to": "b//c"});
        let read = Shape::TwoFiles.read(&value).expect("good");
        assert_eq!(
            (read.path.to_string(), read.to.map(|to| to.to_string())),
            ("a".into(), Some("b/c".into()))
        );
    }

    #[test]
    fn bad_arguments_are_refused_without_repeating_them() {
        use ToolFaultKind as K;
        let table = [
            (Shape::File, json!("s3cret"), K::InvalidArguments),
            (Shape::File, json!(["s3cret"]), K::InvalidArguments),
            (Shape::File, json!(null), K::InvalidArguments),
            (Shape::File, json!({}), K::InvalidArguments),
            (Shape::File, json!({"path": {"s3cret": 1}}), K::InvalidArguments),
            (Shape::File, json!({"path": "a", "s3cret": 1}), K::InvalidArguments),
            (Shape::File, json!({"path": "a", "content": "s3cret"}), K::InvalidArguments),
            (Shape::FileWithContent, json!({"path": "a", "content": ["s3cret"]}), K::InvalidArguments),
            (Shape::FileWithContent, json!({"path": "a"}), K::InvalidArguments),
            (Shape::File, json!({"path": "/s3cret"}), K::PathNotAllowed),
            (Shape::File, json!({"path": "../s3cret"}), K::PathNotAllowed),
            (Shape::File, json!({"path": "."}), K::WrongFileType),
            (Shape::FileWithAddition, json!({"path": "a", "content": ""}), K::InvalidArguments),
            (Shape::FileWithAddition, json!({"path": "a"}), K::InvalidArguments),
            (Shape::TwoFiles, json!({"from": "a"}), K::InvalidArguments),
            (Shape::TwoFiles, json!({"to": "a"}), K::InvalidArguments),
            (Shape::TwoFiles, json!({"from": "a", "to": "b", "path": "s3cret"}), K::InvalidArguments),
            (Shape::TwoFiles, json!({"from": "a", "to": "b", "content": "s3cret"}), K::InvalidArguments),
            (Shape::TwoFiles, json!({"from": "a", "to": ["s3cret"]}), K::InvalidArguments),
            (Shape::TwoFiles, json!({"from": "a", "to": "/s3cret"}), K::PathNotAllowed),
            (Shape::TwoFiles, json!({"from": "../s3cret", "to": "b"}), K::PathNotAllowed),
            (Shape::TwoFiles, json!({"from": "a", "to": ".bulkhead/s3cret"}), K::PathNotAllowed),
            (Shape::TwoFiles, json!({"from": "a", "to": "."}), K::WrongFileType),
        ];
        for (shape, value, kind) in table {
            let fault = shape.read(&value).expect_err("refused");
            assert_eq!(fault.kind, kind, "{value}");
            assert!(!fault.message.contains("s3cret"), "{}", fault.message);
        }
    }

    #[test]
    fn summaries_hold_paths_sizes_and_hashes_and_never_content() {
        let summary = summarise(&json!({"path": "a/b", "root": "w", "content": "s3cret"}));
        let hash = bulkhead_canonical_json::sha256_hex("s3cret");
        assert_eq!(summary, json!({"path": "a/b", "root": "w", "content_bytes": 6, "content_sha256": hash}));
        let malformed = [
            json!("s3cret"),
            json!(["s3cret"]),
            json!({"path": ["s3cret"], "content": {"s3cret": "s3cret"}}),
            json!({"path": "s3cret\n", "root": "s3cret s3cret"}),
            json!({"s3cret": "s3cret"}),
            json!({"from": ["s3cret"], "to": "/s3cret"}),
        ];
        for value in malformed {
            assert!(!summarise(&value).to_string().contains("s3cret"), "{value}");
        }
    }
}
