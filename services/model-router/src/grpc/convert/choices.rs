//! What a request chooses beside its conversation, checked.

use bulkhead_canonical_json as canonical;
use bulkhead_edge::Violations;
use bulkhead_proto::router::v1 as pb;
use serde_json::Value;

use crate::chat::{Object, ResponseFormat, Tool, ToolChoice, ToolChoiceMode};

/// Stop sequences at most, and characters in one.
const STOP_SEQUENCES_MAX: usize = 8;
const STOP_SEQUENCE_CHARS_MAX: usize = 64;
/// Bytes of the schema of an answer at most.
const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// How often a model may be asked again at most.
const REPAIRS_MAX: u32 = 5;
/// How often it is where the request does not say.
const REPAIRS_DEFAULT: u32 = 2;

pub(super) fn stop_sequences(sequences: &[String], violations: &mut Violations) {
    violations.require(sequences.len() <= STOP_SEQUENCES_MAX, "stop_sequences", "must be at most 8");
    for (at, sequence) in sequences.iter().take(STOP_SEQUENCES_MAX).enumerate() {
        let fits = (1..=STOP_SEQUENCE_CHARS_MAX).contains(&sequence.chars().count());
        violations.require(fits, &format!("stop_sequences[{at}]"), "must be 1 to 64 characters");
    }
}

/// `tools` are those on offer; none where they are wrong themselves.
pub(super) fn tool_choice(
    choice: Option<pb::ToolChoice>,
    tools: Option<&[Tool]>,
    violations: &mut Violations,
) -> Option<ToolChoice> {
    let Some(choice) = choice else { return Some(ToolChoice::default()) };
    let Ok(mode) = pb::ToolChoiceMode::try_from(choice.mode) else {
        violations.add("tool_choice.mode", "must be AUTO, NONE, REQUIRED or NAMED");
        return None;
    };
    let is_named = mode == pb::ToolChoiceMode::Named;
    violations.require(
        is_named || choice.name.is_empty(),
        "tool_choice.name",
        "must be empty unless the mode is NAMED",
    );
    let offered = |name: &str| tools.is_none_or(|tools| tools.iter().any(|tool| tool.name == name));
    let is_offered = !is_named || offered(&choice.name);
    violations.require(is_offered, "tool_choice.name", "must be the name of a tool in tools");
    let may_call = tools.is_none_or(|tools| !tools.is_empty());
    let fits = may_call || mode != pb::ToolChoiceMode::Required;
    violations.require(fits, "tool_choice.mode", "must not be REQUIRED where no tools are offered");
    let mode = match mode {
        pb::ToolChoiceMode::Unspecified | pb::ToolChoiceMode::Auto => ToolChoiceMode::Auto,
        pb::ToolChoiceMode::None => ToolChoiceMode::Never,
        pb::ToolChoiceMode::Required => ToolChoiceMode::Required,
        pb::ToolChoiceMode::Named => ToolChoiceMode::Named(choice.name),
    };
    Some(ToolChoice { mode, single_call: choice.single_call })
}

/// What the answer has to be, and how often a model may be asked again for it.
pub(super) fn response_format(
    format: Option<pb::ResponseFormat>,
    violations: &mut Violations,
) -> Option<(ResponseFormat, u32)> {
    let Some(format) = format else { return Some((ResponseFormat::Text, REPAIRS_DEFAULT)) };
    let repairs_max = format.repairs_max.unwrap_or(REPAIRS_DEFAULT);
    violations.require(repairs_max <= REPAIRS_MAX, "response_format.repairs_max", "must be 0 to 5");
    let Ok(kind) = pb::ResponseFormatKind::try_from(format.kind) else {
        violations.add("response_format.kind", "must be TEXT, JSON_OBJECT or JSON_SCHEMA");
        return None;
    };
    if kind != pb::ResponseFormatKind::JsonSchema {
        let empty = "must be empty unless the kind is JSON_SCHEMA";
        violations.require(format.name.is_empty(), "response_format.name", empty);
        violations.require(format.schema_json.is_empty(), "response_format.schema_json", empty);
    }
    let format = match kind {
        pb::ResponseFormatKind::Unspecified | pb::ResponseFormatKind::Text => ResponseFormat::Text,
        pb::ResponseFormatKind::JsonObject => ResponseFormat::JsonObject,
        pb::ResponseFormatKind::JsonSchema => schema_format(format, violations)?,
    };
    Some((format, repairs_max))
}

fn schema_format(format: pb::ResponseFormat, violations: &mut Violations) -> Option<ResponseFormat> {
    let fits = (1..=64).contains(&format.name.len())
        && format.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    violations.require(fits, "response_format.name", "must be 1 to 64 characters of [A-Za-z0-9_-]");
    let field = "response_format.schema_json";
    if format.schema_json.len() > SCHEMA_BYTES_MAX {
        violations.add(field, "must be at most 262144 bytes");
        return None;
    }
    schema(&format.schema_json, field, violations)
        .map(|schema| ResponseFormat::JsonSchema { name: format.name, schema })
}

/// Strictly: of a key that stands twice the model would see one, and the caller may mean the other.
pub(super) fn schema(text: &str, field: &str, violations: &mut Violations) -> Option<Object> {
    let why = match canonical::parse(text) {
        Ok(Value::Object(schema)) => return Some(schema),
        Ok(_) => "it is not an object".to_owned(),
        Err(error) => error.to_string(),
    };
    violations.add(field, format!("must be a JSON Schema, which is a JSON object: {why}"));
    None
}
