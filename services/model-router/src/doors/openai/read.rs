//! A request of the API, in the contract's terms.

use bulkhead_edge::Violations;
use bulkhead_proto::router::v1 as pb;
use serde_json::{Value, json};

use super::message::Conversation;
use crate::chat::Object;
use crate::doors::Asked;
use crate::doors::fields::Fields;

/// A function that takes nothing may leave out its parameters.
const NO_PARAMETERS: &str = r#"{"properties":{},"type":"object"}"#;

pub(super) fn request(object: Object, violations: &mut Violations) -> Option<Asked> {
    let mut fields = Fields::root(object, violations);
    fields.require("model");
    fields.require("messages");
    let route = fields.text("model");
    let conversation = Conversation::read(fields.list("messages").unwrap_or_default(), fields.violations());
    let mut generate = pb::GenerateRequest {
        system: conversation.system.join("\n\n"),
        messages: conversation.turns,
        tools: tools(&mut fields),
        max_output_tokens: tokens(&mut fields),
        temperature: fields.decimal("temperature"),
        top_p: fields.decimal("top_p"),
        seed: fields.whole("seed"),
        stop_sequences: stop(&mut fields),
        tool_choice: tool_choice(&mut fields),
        response_format: response_format(&mut fields),
        ..pb::GenerateRequest::default()
    };
    let stream = fields.flag("stream").unwrap_or(false);
    let usage = stream_options(&mut fields);
    without_effect(&mut fields);
    fields.finish();
    generate.route = route?;
    Some(Asked { generate, is_named: false, stream, usage, origins: conversation.origins })
}

/// What other values would ask for has no words in the contract.
fn without_effect(fields: &mut Fields<'_>) {
    let zero = [json!(0), json!(0.0)];
    fields.neutral("n", &[json!(1)]);
    fields.neutral("logprobs", &[json!(false)]);
    fields.neutral("top_logprobs", &zero);
    fields.neutral("presence_penalty", &zero);
    fields.neutral("frequency_penalty", &zero);
    fields.neutral("logit_bias", &[json!({})]);
    fields.neutral("modalities", &[json!(["text"])]);
    fields.neutral("store", &[json!(false)]);
    fields.neutral("service_tier", &[json!("auto"), json!("default")]);
    fields.neutral("verbosity", &[json!("medium")]);
    fields.ignore(&["user", "metadata", "safety_identifier"]);
    // Hints to a cache: they change no answer.
    fields.ignore(&["prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"]);
}

fn tokens(fields: &mut Fields<'_>) -> u32 {
    let (now, before) = (fields.count("max_completion_tokens"), fields.count("max_tokens"));
    if now.is_some() && before.is_some() && now != before {
        fields.wrong("max_tokens", "must not say otherwise than max_completion_tokens");
    }
    now.or(before).unwrap_or(0)
}

fn stop(fields: &mut Fields<'_>) -> Vec<String> {
    match fields.take("stop") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(several) => serde_json::from_value(several).unwrap_or_else(|_not_strings| {
            fields.wrong("stop", "must be a string or a list of strings");
            Vec::new()
        }),
    }
}

/// Whether a stream is to tell the usage.
fn stream_options(fields: &mut Fields<'_>) -> bool {
    let Some(mut options) = fields.inner("stream_options") else { return false };
    let usage = options.flag("include_usage").unwrap_or(false);
    // Padding against eavesdroppers, which TLS to a machine nearby does not need.
    options.ignore(&["include_obfuscation"]);
    options.finish();
    usage
}

fn tools(fields: &mut Fields<'_>) -> Vec<pb::ToolDefinition> {
    let tools = fields.list("tools").unwrap_or_default().into_iter().enumerate();
    tools.filter_map(|(at, tool)| definition(format!("tools[{at}]"), tool, fields.violations())).collect()
}

fn definition(path: String, tool: Value, violations: &mut Violations) -> Option<pb::ToolDefinition> {
    let mut tool = Fields::of(path, tool, violations)?;
    if tool.kind("type") != "function" {
        tool.wrong("type", "must be function");
        return None;
    }
    tool.require("function");
    let definition = tool.inner("function").map(|mut function| {
        function.require("name");
        let parameters = function.object("parameters");
        let definition = pb::ToolDefinition {
            name: function.text("name").unwrap_or_default(),
            description: function.text("description").unwrap_or_default(),
            input_schema_json: parameters
                .map_or_else(|| NO_PARAMETERS.into(), |o| Value::Object(o).to_string()),
        };
        // Arguments are checked against the schema in any case.
        function.ignore(&["strict"]);
        function.finish();
        definition
    });
    tool.finish();
    definition
}

fn tool_choice(fields: &mut Fields<'_>) -> Option<pb::ToolChoice> {
    let single_call = fields.flag("parallel_tool_calls") == Some(false);
    let choice = match fields.take("tool_choice") {
        None => return single_call.then(|| choice(pb::ToolChoiceMode::Auto, single_call)),
        Some(Value::String(word)) => mode(&word).map(|mode| choice(mode, single_call)),
        Some(named) => function_name(fields, named)
            .map(|name| pb::ToolChoice { name, ..choice(pb::ToolChoiceMode::Named, single_call) }),
    };
    if choice.is_none() {
        fields.wrong("tool_choice", "must be none, auto, required or the function to call");
    }
    choice
}

fn choice(mode: pb::ToolChoiceMode, single_call: bool) -> pb::ToolChoice {
    pb::ToolChoice { mode: mode.into(), single_call, ..pb::ToolChoice::default() }
}

fn mode(word: &str) -> Option<pb::ToolChoiceMode> {
    match word {
        "none" => Some(pb::ToolChoiceMode::None),
        "auto" => Some(pb::ToolChoiceMode::Auto),
        "required" => Some(pb::ToolChoiceMode::Required),
        _ => None,
    }
}

fn function_name(fields: &mut Fields<'_>, named: Value) -> Option<String> {
    let mut named = Fields::of(fields.at("tool_choice"), named, fields.violations())?;
    if named.kind("type") != "function" {
        return None;
    }
    let mut function = named.inner("function")?;
    let name = function.text("name");
    function.finish();
    named.finish();
    name
}

fn response_format(fields: &mut Fields<'_>) -> Option<pb::ResponseFormat> {
    let mut format = fields.inner("response_format")?;
    let kind = match format.kind("type").as_str() {
        "text" => pb::ResponseFormatKind::Text,
        "json_object" => pb::ResponseFormatKind::JsonObject,
        "json_schema" => pb::ResponseFormatKind::JsonSchema,
        _ => {
            format.wrong("type", "must be text, json_object or json_schema");
            return None;
        }
    };
    let mut wanted = pb::ResponseFormat { kind: kind.into(), ..pb::ResponseFormat::default() };
    if kind == pb::ResponseFormatKind::JsonSchema {
        format.require("json_schema");
        if let Some(mut named) = format.inner("json_schema") {
            named.require("name");
            named.require("schema");
            wanted.name = named.text("name").unwrap_or_default();
            wanted.schema_json = Value::Object(named.object("schema").unwrap_or_default()).to_string();
            // The answer is checked against the schema in any case.
            named.ignore(&["strict"]);
            named.finish();
        }
    }
    format.finish();
    Some(wanted)
}

#[cfg(test)]
mod tests;
