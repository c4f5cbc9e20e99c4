//! A request of the API, in the contract's terms.

use bulkhead_edge::Violations;
use bulkhead_proto::router::v1 as pb;
use serde_json::{Value, json};

use super::message;
use crate::chat::Object;
use crate::doors::Asked;
use crate::doors::fields::Fields;

/// The contract wants a name for a schema, and the API has none.
const SCHEMA_NAME: &str = "output";

pub(super) fn request(object: Object, violations: &mut Violations) -> Option<Asked> {
    let mut fields = Fields::root(object, violations);
    for name in ["model", "max_tokens", "messages"] {
        fields.require(name);
    }
    let prompt = prompt(&mut fields);
    let (max_output_tokens, temperature) =
        (fields.count("max_tokens").unwrap_or(0), fields.decimal("temperature"));
    let (top_p, stop) = (fields.decimal("top_p"), fields.texts("stop_sequences"));
    let stream = fields.flag("stream").unwrap_or(false);
    fields.neutral("service_tier", &[json!("auto"), json!("standard_only")]);
    fields.neutral("speed", &[json!("standard")]);
    fields.ignore(&["metadata"]);
    fields.finish();
    let stop_sequences = stop.unwrap_or_default();
    let generate = pb::GenerateRequest { max_output_tokens, temperature, top_p, stop_sequences, ..prompt? };
    Some(asked(generate, stream))
}

/// A request that only its tokens are asked of: nothing in it says how to answer.
pub(super) fn counted(object: Object, violations: &mut Violations) -> Option<Asked> {
    let mut fields = Fields::root(object, violations);
    fields.require("model");
    fields.require("messages");
    let prompt = prompt(&mut fields);
    fields.neutral("speed", &[json!("standard")]);
    fields.finish();
    Some(asked(prompt?, false))
}

fn asked(generate: pb::GenerateRequest, stream: bool) -> Asked {
    let origins = (0..generate.messages.len()).collect();
    Asked { generate, is_named: false, stream, usage: true, origins }
}

/// What a model reads, and the route; none without a route.
fn prompt(fields: &mut Fields<'_>) -> Option<pb::GenerateRequest> {
    let route = fields.text("model");
    let mut messages = message::turns(fields.list("messages").unwrap_or_default(), fields.violations());
    if message::is_marked(fields) {
        // Of the whole request: up to its end.
        let last = messages.last_mut().and_then(|message| message.content.last_mut());
        last.into_iter().for_each(|block| block.cache_breakpoint = true);
    }
    let (response_format, tool_choice) = (response_format(fields), tool_choice(fields));
    let prompt = pb::GenerateRequest {
        system: message::system(fields),
        messages,
        tools: tools(fields),
        thinking_tokens_max: thinking(fields),
        tool_choice,
        response_format,
        ..pb::GenerateRequest::default()
    };
    Some(pb::GenerateRequest { route: route?, ..prompt })
}

fn tools(fields: &mut Fields<'_>) -> Vec<pb::ToolDefinition> {
    let tools = fields.list("tools").unwrap_or_default().into_iter().enumerate();
    tools.filter_map(|(at, tool)| definition(format!("tools[{at}]"), tool, fields.violations())).collect()
}

fn definition(path: String, tool: Value, violations: &mut Violations) -> Option<pb::ToolDefinition> {
    let mut tool = Fields::of(path, tool, violations)?;
    if tool.text("type").is_some_and(|kind| kind != "custom") {
        tool.wrong("type", "must be custom; tools that the provider runs are not offered");
        return None;
    }
    tool.require("name");
    tool.require("input_schema");
    let definition = pb::ToolDefinition {
        name: tool.text("name").unwrap_or_default(),
        description: tool.text("description").unwrap_or_default(),
        input_schema_json: Value::Object(tool.object("input_schema").unwrap_or_default()).to_string(),
    };
    tool.neutral("defer_loading", &[json!(false)]);
    // Arguments are checked in any case and never given in pieces, and the cache changes no answer.
    tool.ignore(&["strict", "eager_input_streaming", "cache_control"]);
    tool.finish();
    Some(definition)
}

fn tool_choice(fields: &mut Fields<'_>) -> Option<pb::ToolChoice> {
    let mut choice = fields.inner("tool_choice")?;
    let mode = match choice.kind("type").as_str() {
        "auto" => pb::ToolChoiceMode::Auto,
        "any" => pb::ToolChoiceMode::Required,
        "tool" => pb::ToolChoiceMode::Named,
        "none" => pb::ToolChoiceMode::None,
        _ => {
            choice.wrong("type", "must be auto, any, tool or none");
            return None;
        }
    };
    if mode == pb::ToolChoiceMode::Named {
        choice.require("name");
    }
    let name = choice.text("name").unwrap_or_default();
    let single_call = choice.flag("disable_parallel_tool_use").unwrap_or(false);
    choice.finish();
    Some(pb::ToolChoice { mode: mode.into(), name, single_call })
}

fn thinking(fields: &mut Fields<'_>) -> u32 {
    let Some(mut thinking) = fields.inner("thinking") else { return 0 };
    let tokens = match thinking.kind("type").as_str() {
        "disabled" => 0,
        "enabled" => {
            thinking.require("budget_tokens");
            thinking.count("budget_tokens").unwrap_or(0)
        }
        _ => {
            thinking.wrong("type", "must be enabled or disabled");
            0
        }
    };
    thinking.neutral("display", &[json!("summarized")]);
    thinking.finish();
    tokens
}

fn response_format(fields: &mut Fields<'_>) -> Option<pb::ResponseFormat> {
    let mut config = fields.inner("output_config")?;
    let wanted = config.inner("format").and_then(|mut format| {
        if format.kind("type") != "json_schema" {
            format.wrong("type", "must be json_schema");
            return None;
        }
        format.require("schema");
        let schema = format.object("schema").unwrap_or_default();
        format.finish();
        Some(pb::ResponseFormat {
            kind: pb::ResponseFormatKind::JsonSchema.into(),
            name: SCHEMA_NAME.into(),
            schema_json: Value::Object(schema).to_string(),
            ..pb::ResponseFormat::default()
        })
    });
    config.finish();
    wanted
}

#[cfg(test)]
mod tests;
