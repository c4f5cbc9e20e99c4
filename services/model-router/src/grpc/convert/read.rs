//! Requests, checked.

mod block;

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use bulkhead_edge::{Fault, Violations, wire};
use bulkhead_idempotency::PayloadDigest;
use bulkhead_proto::common::v1 as common;
use bulkhead_proto::router::v1 as pb;
use uuid::Uuid;

use super::choices;
use crate::catalog::Catalog;
use crate::chat::{Block, Prompt, Role, Tool, Turn};
use crate::clearance::Sensitivity;
use crate::config::RouteConfig;
use crate::output::{NotASchema, Rules};
use crate::price::COST_USD_MICROS_MAX;
use crate::service::Command;
use crate::spend::{ATTEMPTS_MAX, Caps};
use block::BlockReader;

/// Turns in a conversation at most.
const TURNS_MAX: usize = 10_000;
/// Blocks in one turn at most.
const BLOCKS_MAX: usize = 1_000;
/// Tools on offer at most.
const TOOLS_MAX: usize = 128;
/// Tokens of an answer at most.
const OUTPUT_TOKENS_MAX: u32 = 1_000_000;
/// The largest integer that every JSON reader keeps exact (RFC 8259, section 6).
const SEED_MAX: u64 = (1 << 53) - 1;
/// The route of a request that names none.
const DEFAULT_ROUTE: &str = "default";

/// What a request asks a model, and what its answer has to keep.
struct Asked {
    prompt: Prompt,
    rules: Rules,
}

/// A Generate request.
pub(crate) fn command(mut request: pb::GenerateRequest, catalog: &Arc<Catalog>) -> Result<Command, Fault> {
    let mut violations = Violations::new();
    let request_id = violations.uuid("request_id", &mem::take(&mut request.request_id));
    let payload = PayloadDigest::of(&request);
    let parts = parts(request, catalog, &mut violations);
    violations
        .finish(request_id.zip(parts).map(|(request_id, parts)| parts.command(catalog, request_id, payload)))
}

/// A StreamGenerate request.
pub(crate) fn stream_command(
    mut request: pb::StreamGenerateRequest,
    catalog: &Arc<Catalog>,
) -> Result<Command, Fault> {
    let mut violations = Violations::new();
    let request_id = violations.uuid("request_id", &mem::take(&mut request.request_id));
    let payload = PayloadDigest::of(&request);
    let generate = request.generate.unwrap_or_default();
    let mut inner = Violations::new();
    let is_unnamed = generate.request_id.is_empty();
    inner.require(is_unnamed, "request_id", "must be empty: the id of a stream stands beside it");
    let parts = parts(generate, catalog, &mut inner);
    violations.add_within("generate", inner);
    violations
        .finish(request_id.zip(parts).map(|(request_id, parts)| parts.command(catalog, request_id, payload)))
}

/// What a request asks a model, checked, whatever its route.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn prompt(request: pb::GenerateRequest) -> Result<Prompt, Fault> {
    let mut violations = Violations::new();
    let asked = asked(request, &mut violations);
    violations.finish(asked.map(|asked| asked.prompt))
}

/// A request without its id.
struct Parts {
    route: Arc<RouteConfig>,
    asked: Asked,
    context: common::RunContext,
    caps: Caps,
}

impl Parts {
    fn command(self, catalog: &Arc<Catalog>, request_id: Uuid, payload: PayloadDigest) -> Command {
        Command {
            catalog: Arc::clone(catalog),
            request_id,
            payload,
            route: self.route,
            prompt: self.asked.prompt.into(),
            rules: Arc::new(self.asked.rules),
            sensitivity: sensitivity(&self.context),
            context: self.context,
            recovery: None,
            without_thinking: false,
            is_named: true,
            caps: self.caps,
        }
    }
}

fn parts(request: pb::GenerateRequest, catalog: &Catalog, violations: &mut Violations) -> Option<Parts> {
    let route = route(&request.route, catalog, violations);
    let context = wire::read_context(request.context.clone(), violations);
    let caps = caps(request.limits.unwrap_or_default(), violations);
    let asked = asked(request, violations);
    Some(Parts { route: route?, asked: asked?, context, caps })
}

fn caps(limits: pb::GenerateLimits, violations: &mut Violations) -> Caps {
    let pb::GenerateLimits { attempts_max: attempts, cost_usd_micros_max: cost } = limits;
    violations.require(attempts <= ATTEMPTS_MAX, "limits.attempts_max", "must be 0 to 100");
    let fits = cost <= COST_USD_MICROS_MAX;
    violations.require(fits, "limits.cost_usd_micros_max", "must be 0 to 9007199254740991");
    Caps { attempts_max: (attempts > 0).then_some(attempts), cost_usd_micros_max: (cost > 0).then_some(cost) }
}

/// What is to be explained.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) route: Arc<RouteConfig>,
    pub(crate) session: String,
    pub(crate) sensitivity: Vec<Sensitivity>,
    /// None where no content was given.
    pub(crate) prompt: Option<Prompt>,
    /// What the request may take; what it does not say, its route says.
    pub(crate) caps: Caps,
}

/// An ExplainRoute request.
pub(crate) fn question(request: pb::ExplainRouteRequest, catalog: &Catalog) -> Result<Question, Fault> {
    let mut violations = Violations::new();
    let Some(generate) = request.generate else {
        let route = route(&request.route, catalog, &mut violations);
        let context = wire::read_context(request.context, &mut violations);
        let sensitivity = sensitivity(&context);
        let session = context.session_id;
        let caps = Caps::default();
        return violations.finish(route.map(|route| Question {
            route,
            session,
            sensitivity,
            prompt: None,
            caps,
        }));
    };
    let right = "must be empty where generate is given, whose own counts";
    violations.require(request.route.is_empty(), "route", right);
    violations.require(request.context.is_none(), "context", right);
    let mut inner = Violations::new();
    let parts = parts(generate, catalog, &mut inner);
    violations.add_within("generate", inner);
    violations.finish(parts.map(|Parts { route, asked, context, caps }| Question {
        route,
        caps,
        sensitivity: sensitivity(&context),
        session: context.session_id,
        prompt: Some(asked.prompt),
    }))
}

/// A configured route.
fn route(name: &str, catalog: &Catalog, violations: &mut Violations) -> Option<Arc<RouteConfig>> {
    let name = if name.is_empty() { DEFAULT_ROUTE } else { name };
    let found = catalog.route(name).cloned();
    if found.is_none() {
        let known: Vec<&str> = catalog.routes().iter().map(|route| route.name.as_str()).collect();
        let right = match known.as_slice() {
            [] => "cannot be served: no route is configured; add a model and a route to the router's configuration".into(),
            known => format!("must be a configured route: {}", known.join(", ")),
        };
        violations.add("route", right);
    }
    found
}

/// The categories of a context that was checked; unknown ones are violations there.
fn sensitivity(context: &common::RunContext) -> Vec<Sensitivity> {
    let mut categories: Vec<Sensitivity> = context.sensitivity().filter_map(category).collect();
    categories.sort();
    categories.dedup();
    categories
}

fn category(value: common::Sensitivity) -> Option<Sensitivity> {
    match value {
        common::Sensitivity::Unspecified => None,
        common::Sensitivity::Credentials => Some(Sensitivity::Credentials),
        common::Sensitivity::Financial => Some(Sensitivity::Financial),
        common::Sensitivity::Health => Some(Sensitivity::Health),
        common::Sensitivity::PrivateStrategy => Some(Sensitivity::PrivateStrategy),
        common::Sensitivity::PersonalData => Some(Sensitivity::PersonalData),
    }
}

/// What a Generate request asks a model, without who asks and which route.
fn asked(request: pb::GenerateRequest, violations: &mut Violations) -> Option<Asked> {
    let turns = turns(request.messages, violations);
    let tools = tools(request.tools, violations);
    let tokens = request.max_output_tokens;
    violations.require(tokens <= OUTPUT_TOKENS_MAX, "max_output_tokens", "must be 0 to 1000000");
    // Through the decimal text, so that 0.7 stays 0.7 on its way from 32 to 64 bits.
    let temperature = request.temperature.map(|value| value.to_string().parse().unwrap_or(f64::NAN));
    let fits = temperature.is_none_or(|value: f64| (0.0..=2.0).contains(&value));
    violations.require(fits, "temperature", "must be 0 to 2");
    let top_p = request.top_p.map(|value| value.to_string().parse().unwrap_or(f64::NAN));
    let fits = top_p.is_none_or(|value: f64| value > 0.0 && value <= 1.0);
    violations.require(fits, "top_p", "must be above 0 and at most 1");
    let fits = request.seed.is_none_or(|seed| seed <= SEED_MAX);
    violations.require(fits, "seed", "must be 0 to 9007199254740991");
    let thinking = request.thinking_tokens_max;
    // Without a limit of the answer's tokens the model's own holds, which is looked at when it is written down.
    let fits = thinking <= OUTPUT_TOKENS_MAX && (thinking == 0 || tokens == 0 || thinking < tokens);
    violations.require(fits, "thinking_tokens_max", "must be less than max_output_tokens");
    choices::stop_sequences(&request.stop_sequences, violations);
    let tool_choice = choices::tool_choice(request.tool_choice, tools.as_deref(), violations);
    let response_format = choices::response_format(request.response_format, violations);
    let (response_format, repairs_max) = response_format?;
    let prompt = Prompt {
        system: request.system,
        turns: turns?,
        tools: tools?,
        max_output_tokens: (tokens > 0).then_some(tokens),
        temperature,
        top_p,
        seed: request.seed,
        stop_sequences: request.stop_sequences,
        tool_choice: tool_choice?,
        response_format,
        thinking_tokens_max: (thinking > 0).then_some(thinking),
    };
    let rules = Rules::of(&prompt, repairs_max).map_err(|wrong| {
        for NotASchema { field, why } in wrong {
            violations.add(field, format!("must be a JSON Schema that refers to nothing outside: {why}"));
        }
    });
    Some(Asked { prompt, rules: rules.ok()? })
}

fn turns(messages: Vec<pb::Message>, violations: &mut Violations) -> Option<Vec<Turn>> {
    let count = messages.len();
    violations.require((1..=TURNS_MAX).contains(&count), "messages", "must be 1 to 10000 turns");
    let by_user = messages.last().is_none_or(|last| last.role() == pb::Role::User);
    violations.require(by_user, "messages", "the last turn must be by the user");
    let mut calls = HashSet::new();
    let turns = messages.into_iter().take(TURNS_MAX).enumerate();
    // Each turn is read, also after a wrong one, so that every violation is found.
    let read: Vec<Option<Turn>> =
        turns.map(|(at, message)| turn(at, message, &mut calls, violations)).collect();
    read.into_iter().collect()
}

fn turn(
    at: usize,
    message: pb::Message,
    calls: &mut HashSet<String>,
    violations: &mut Violations,
) -> Option<Turn> {
    let role = match message.role() {
        pb::Role::User => Some(Role::User),
        pb::Role::Assistant => Some(Role::Assistant),
        pb::Role::Unspecified => {
            violations.add(format!("messages[{at}].role"), "must be USER or ASSISTANT");
            None
        }
    };
    let fits = (1..=BLOCKS_MAX).contains(&message.content.len());
    violations.require_at(fits, || format!("messages[{at}].content"), "must have 1 to 1000 blocks");
    let marked = message.content.iter().enumerate().filter(|(_, content)| is_breakpoint(content));
    let breakpoints = marked.map(|(place, _)| place).collect();
    let blocks = message.content.into_iter().take(BLOCKS_MAX).enumerate();
    let blocks: Vec<Option<Block>> = blocks
        .map(|(place, content)| {
            BlockReader { at, place, role, calls: &mut *calls, violations: &mut *violations }.read(content)
        })
        .collect();
    Some(Turn { role: role?, blocks: blocks.into_iter().collect::<Option<_>>()?, breakpoints })
}

/// A mark within a tool's result is one of the result. What was thought is kept in no cache by itself.
fn is_breakpoint(content: &pb::ContentBlock) -> bool {
    let within = match &content.block {
        Some(pb::content_block::Block::ToolResult(result)) => result.parts.as_slice(),
        Some(pb::content_block::Block::Thinking(_)) => return false,
        Some(_) | None => &[],
    };
    content.cache_breakpoint || within.iter().any(|part| part.cache_breakpoint)
}

const TOOL_NAME: &str = "must be 1 to 64 characters of [A-Za-z0-9_.-]";

fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn tools(tools: Vec<pb::ToolDefinition>, violations: &mut Violations) -> Option<Vec<Tool>> {
    violations.require(tools.len() <= TOOLS_MAX, "tools", "must be at most 128");
    let mut names = HashSet::new();
    let tools = tools.into_iter().take(TOOLS_MAX).enumerate();
    let read: Vec<Option<Tool>> = tools
        .map(|(at, definition)| {
            let name = definition.name.as_str();
            violations.require_at(is_tool_name(name), || format!("tools[{at}].name"), TOOL_NAME);
            let is_new = names.insert(name.to_owned());
            violations.require_at(is_new, || format!("tools[{at}].name"), "must be unique");
            tool(at, definition, violations)
        })
        .collect();
    read.into_iter().collect()
}

fn tool(at: usize, definition: pb::ToolDefinition, violations: &mut Violations) -> Option<Tool> {
    let field = format!("tools[{at}].input_schema_json");
    let input_schema = choices::schema(&definition.input_schema_json, &field, violations)?;
    Some(Tool { name: definition.name, description: definition.description, input_schema })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::content_block::Block as Wire;

    #[test]
    fn a_mark_on_what_was_thought_is_none() {
        let said = |wire, cache_breakpoint| pb::ContentBlock {
            block: Some(wire),
            cache_breakpoint,
            ..pb::ContentBlock::default()
        };
        let (text, thought) =
            (|| Wire::Text("Hi.".into()), pb::Thinking { text: "Hm.".into(), ..pb::Thinking::default() });
        let turn = |role: pb::Role, content| pb::Message { role: role.into(), content };
        let messages = vec![
            turn(pb::Role::User, vec![said(text(), true)]),
            turn(pb::Role::Assistant, vec![said(Wire::Thinking(thought), true), said(text(), true)]),
            turn(pb::Role::User, vec![said(text(), false)]),
        ];
        let prompt =
            prompt(pb::GenerateRequest { messages, ..pb::GenerateRequest::default() }).expect("right");
        let marks: Vec<_> = prompt.turns.into_iter().map(|turn| turn.breakpoints).collect();
        assert_eq!(marks, [vec![0], vec![1], vec![]]);
    }
}
