//! The arguments of a tool, as people type them.

use std::io::Read as _;

use clap::Args;
use serde_json::{Map, Value};

use crate::client::ClientError;

/// Which tool, and with what.
#[derive(Debug, Args)]
pub(crate) struct InputArguments {
    /// Name of the tool, as `bulkhead tools ls` shows it.
    tool: String,
    /// An argument of the tool: `name=text`, or `name:=json` for what is not text.
    #[arg(value_name = "NAME=VALUE")]
    pairs: Vec<String>,
    /// All arguments as one JSON object; `@file` reads a file, `-` standard input.
    #[arg(long, value_name = "JSON", conflicts_with = "pairs")]
    arguments: Option<String>,
}

impl InputArguments {
    /// The tool and its arguments as JSON text. A JSON text is passed on byte for byte: what is wrong with it
    /// (a key twice, an integer too large) is for the service to say.
    pub(super) fn read(&self) -> Result<(String, String), ClientError> {
        let json = match self.arguments.as_deref() {
            None => from_pairs(&self.pairs).map_err(ClientError::Usage)?,
            Some("-") => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|error| unreadable("standard input", &error))?;
                text
            }
            Some(given) => match given.strip_prefix('@') {
                Some(path) => std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?,
                None => given.to_owned(),
            },
        };
        Ok((self.tool.clone(), json))
    }
}

fn unreadable(what: &str, error: &std::io::Error) -> ClientError {
    ClientError::Usage(format!("cannot read the arguments from {what}: {error}"))
}

fn from_pairs(pairs: &[String]) -> Result<String, String> {
    let mut object = Map::new();
    for pair in pairs {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("{pair:?} is not like name=text or name:=json"))?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let json: Value = serde_json::from_str(value)
                    .map_err(|error| format!("what follows {name}:= is no JSON: {error}"))?;
                (name, json)
            }
            None => (name, Value::from(value)),
        };
        if object.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    Ok(Value::Object(object).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[&str]) -> Result<String, String> {
        from_pairs(&pairs.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn pairs_are_text_unless_they_say_json() {
        let json = pairs(&["path=a=b.txt", "deep:=true", "lines:=[1,2]", "note=5"]).unwrap();
        let expected = serde_json::json!({ "path": "a=b.txt", "deep": true, "lines": [1, 2], "note": "5" });
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
        assert_eq!(pairs(&[]).unwrap(), "{}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [&["path"][..], &["a:=nonsense"], &["a=1", "a=2"], &["a=1", "a:=2"]] {
            assert!(pairs(wrong).is_err(), "{wrong:?}");
        }
    }
}
