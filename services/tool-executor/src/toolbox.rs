//! The tools of this executor by name, each with its schema ready to check arguments.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bulkhead_canonical_json::{self as canonical, CanonicalError};
use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::plan::PLAN_BYTES_MAX;
use crate::tool::{Tool, ToolFault, ToolFaultKind, ToolSpec};

/// Schema violations that are told at once; a model can fix so many in one go.
const PROBLEMS_MAX: usize = 8;

/// Longest message about arguments, in bytes. It goes to the model, to the journal and into the audit log.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// Every tool by name.
#[derive(Debug, Clone)]
pub struct Toolbox(Arc<BTreeMap<&'static str, Entry>>);

/// A tool with its schema.
#[derive(Clone)]
pub struct Entry {
    /// The tool itself.
    pub tool: Arc<dyn Tool>,
    /// SHA-256 of the schema in RFC 8785 form.
    pub schema_digest: String,
    validator: Arc<Validator>,
}

/// Why a set of tools cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ToolboxError {
    /// Two have one name.
    #[error("two tools are named {name}")]
    Twice {
        /// Which.
        name: &'static str,
    },
    /// A schema is no JSON Schema.
    #[error("the schema of {name} is not valid")]
    Schema {
        /// Whose.
        name: &'static str,
        /// Why.
        #[source]
        source: Box<jsonschema::ValidationError<'static>>,
    },
    /// A schema has no digest.
    #[error("the schema of {name} has no canonical form")]
    NotCanonical {
        /// Whose.
        name: &'static str,
        /// Why.
        #[source]
        source: CanonicalError,
    },
}

impl Toolbox {
    /// Takes the tools, refusing all when one is not usable.
    ///
    /// # Errors
    /// [`ToolboxError`], which names the tool.
    pub fn new(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Result<Self, ToolboxError> {
        let mut by_name = BTreeMap::new();
        for tool in tools {
            let name = tool.describe().name;
            if by_name.insert(name, Entry::new(tool)?).is_some() {
                return Err(ToolboxError::Twice { name });
            }
        }
        Ok(Self(Arc::new(by_name)))
    }

    /// A tool by name.
    ///
    /// # Errors
    /// A fault that names the tools there are, since a model chose the name.
    pub fn find(&self, name: &str) -> Result<&Entry, ToolFault> {
        self.0.get(name).ok_or_else(|| {
            let known = self.0.keys().copied().collect::<Vec<_>>().join(", ");
            fault(ToolFaultKind::UnknownTool, format!("No tool is named {name:?}. Use one of: {known}."))
        })
    }

    /// All tools, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }
}

impl Entry {
    fn new(tool: Arc<dyn Tool>) -> Result<Self, ToolboxError> {
        let spec = tool.describe();
        let name = spec.name;
        let validator = jsonschema::draft202012::new(&spec.input_schema)
            .map_err(|source| ToolboxError::Schema { name, source: Box::new(source.to_owned()) })?;
        let schema = canonical::to_string(&spec.input_schema)
            .map_err(|source| ToolboxError::NotCanonical { name, source })?;
        let schema_digest = canonical::sha256_hex(schema);
        Ok(Self { tool, schema_digest, validator: Arc::new(validator) })
    }

    /// What it says of itself.
    #[must_use]
    pub fn spec(&self) -> &ToolSpec {
        self.tool.describe()
    }

    /// Reads arguments as a model wrote them.
    ///
    /// # Errors
    /// A fault that names every problem. Values are not repeated in it: they may be secrets.
    pub fn read_arguments(&self, text: &str) -> Result<Value, ToolFault> {
        self.read_object(text).map_err(|fault| ToolFault { message: capped(fault.message), ..fault })
    }

    fn read_object(&self, text: &str) -> Result<Value, ToolFault> {
        let name = self.spec().name;
        if text.len() > PLAN_BYTES_MAX {
            let message = format!(
                "The arguments of {name} have {} bytes; at most {PLAN_BYTES_MAX} are taken. Split the call.",
                text.len()
            );
            return Err(fault(ToolFaultKind::TooLarge, message));
        }
        let arguments = canonical::parse(text).map_err(|error| {
            invalid(format!(
                "The arguments of {name} are {error}. Send one JSON object that fits the schema."
            ))
        })?;
        if !arguments.is_object() {
            return Err(invalid(format!("The arguments of {name} must be a JSON object.")));
        }
        self.check(&arguments)?;
        Ok(arguments)
    }

    fn check(&self, arguments: &Value) -> Result<(), ToolFault> {
        let errors = self.validator.iter_errors(arguments).take(PROBLEMS_MAX);
        let problems: Vec<String> = errors.map(|error| self.told(&error)).collect();
        if problems.is_empty() {
            return Ok(());
        }
        let name = self.spec().name;
        let message = format!(
            "The arguments of {name} do not fit its schema: {}. Correct them and call again.",
            problems.join("; ")
        );
        Err(invalid(message))
    }

    /// A name that the schema does not have is as much the model's own text as a value, and is not repeated.
    fn told(&self, error: &jsonschema::ValidationError<'_>) -> String {
        let path = error.instance_path().to_string();
        let place = if path.is_empty() { "the object" } else { path.as_str() };
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { .. }
            | ValidationErrorKind::UnevaluatedProperties { .. }
                if path.is_empty() =>
            {
                format!("there is an argument that this tool does not have; it has {}", self.parameters())
            }
            ValidationErrorKind::AdditionalProperties { .. }
            | ValidationErrorKind::UnevaluatedProperties { .. } => {
                format!("{place}: there is a field that the schema does not have")
            }
            _ => format!("{place}: {}", error.masked()),
        }
    }

    /// The names of its arguments.
    fn parameters(&self) -> String {
        let properties = self.spec().input_schema.get("properties").and_then(Value::as_object);
        let names = properties.map(|properties| properties.keys().cloned().collect::<Vec<_>>());
        names.filter(|names| !names.is_empty()).map_or_else(|| "none".to_owned(), |names| names.join(", "))
    }
}

/// The message, cut where it is longer than anybody needs: a model may have put anything into it.
fn capped(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

fn invalid(message: String) -> ToolFault {
    fault(ToolFaultKind::InvalidArguments, message)
}

fn fault(kind: ToolFaultKind, message: String) -> ToolFault {
    ToolFault { kind, message, retry_after: None }
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Entry({} {})", self.spec().name, self.schema_digest)
    }
}
