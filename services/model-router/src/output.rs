//! Whether an answer is what the request asked for, and how to ask again when it is not. Pure.
//!
//! Promises that a structured answer is given only when it is JSON that the schema accepts, and a tool call only when
//! its tool is on offer, its id unique, its input what the tool's schema accepts, and the calls together are what the
//! request chose. What a model wrote is quoted to the model alone, and to whoever asked it: nothing here that is logged
//! or recorded holds a piece of it.

mod choice;
mod lenient;

use std::fmt;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::chat::{
    Answer, Block, CallFault, Miscall, Object, Prompt, ResponseFormat, Role, StopReason, ToolChoice,
    ToolChoiceMode, ToolResult, ToolUse, Turn,
};
use choice::Breach;

/// Faults that one message to a model names.
const FAULTS_NAMED_MAX: usize = 5;
/// Bytes of a tool's name that are quoted to the model that made it up: as many as a name may have.
const NAME_BYTES_MAX: usize = 64;

/// What an answer has to keep.
pub struct Rules {
    tools: Vec<(String, Validator)>,
    choice: ToolChoice,
    text: TextRule,
    /// How often one model may be asked again.
    pub repairs_max: u32,
}

enum TextRule {
    Anything,
    Object,
    Schema(Validator),
}

/// A schema of the request that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotASchema {
    /// The request's field.
    pub field: String,
    /// What is wrong with it, in the caller's own terms.
    pub why: String,
}

/// What is wrong with an answer.
#[derive(Clone, PartialEq)]
pub struct Flaw {
    /// In our own words, without a piece of the answer.
    pub told: &'static str,
    quoted: Box<Quoted>,
}

/// What only the model, and whoever asked it, may see.
#[derive(Clone, PartialEq)]
struct Quoted {
    /// For the model: what is wrong, where.
    problem: String,
    place: Place,
    /// What the model wrote.
    written: Vec<Block>,
    /// And the calls of it that are no blocks.
    miscalls: Vec<Miscall>,
}

/// Where an answer is wrong, which decides how the model is told.
#[derive(Clone, PartialEq)]
enum Place {
    /// In its text.
    Text,
    /// In the inputs of the calls with these ids: each is a call that failed.
    Inputs(Vec<String>),
    /// In calls that cannot be told one by one, or that no format can carry back: the whole turn is told in words.
    Calls,
    /// In that it calls nothing.
    NoCall,
}

impl fmt::Debug for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Flaw({})", self.told)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Rules({} tools)", self.tools.len())
    }
}

impl Rules {
    /// Compiles the schemas of a request.
    ///
    /// # Errors
    /// Each schema that is none.
    pub fn of(prompt: &Prompt, repairs_max: u32) -> Result<Self, Vec<NotASchema>> {
        let mut wrong = Vec::new();
        let mut compile = |field: String, schema: &Object| {
            jsonschema::validator_for(&Value::Object(schema.clone()))
                .map_err(|error| wrong.push(NotASchema { field, why: error.to_string() }))
                .ok()
        };
        let mut tools = Vec::new();
        for (at, tool) in prompt.tools.iter().enumerate() {
            if let Some(validator) = compile(format!("tools[{at}].input_schema_json"), &tool.input_schema) {
                tools.push((tool.name.clone(), validator));
            }
        }
        let text = match &prompt.response_format {
            ResponseFormat::Text => TextRule::Anything,
            ResponseFormat::JsonObject => TextRule::Object,
            ResponseFormat::JsonSchema { schema, .. } => {
                compile("response_format.schema_json".to_owned(), schema)
                    .map_or(TextRule::Anything, TextRule::Schema)
            }
        };
        let choice = prompt.tool_choice.clone();
        if wrong.is_empty() { Ok(Self { tools, choice, text, repairs_max }) } else { Err(wrong) }
    }

    /// Whether text is checked as a whole, so that none of it may be shown before its end.
    #[must_use]
    pub fn is_structured(&self) -> bool {
        !matches!(self.text, TextRule::Anything)
    }

    /// The structured answer as JSON text; empty where none was asked for, where the model calls tools first, and where it
    /// declines.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, answer: &Answer) -> Result<String, Flaw> {
        self.check_calls(answer)?;
        let has_calls = answer.blocks.iter().any(|block| call(block).is_some());
        if has_calls || answer.stop_reason == StopReason::Refusal {
            return Ok(String::new());
        }
        self.check_text(answer)
    }

    fn check_calls(&self, answer: &Answer) -> Result<(), Flaw> {
        let mut wrong = Vec::new();
        for call in answer.blocks.iter().filter_map(call) {
            let input = Value::Object(call.input.clone());
            let known = self.tools.iter().find(|(name, _)| *name == call.name);
            let faults = known.map(|(_, validator)| faults(validator, &input)).unwrap_or_default();
            if !faults.is_empty() {
                wrong.push((call.id.clone(), format!("the input of {} is wrong: {faults}", call.name)));
            }
        }
        let (calls, problems): (Vec<String>, Vec<String>) = wrong.into_iter().unzip();
        let breach = choice::breach(&self.choice, answer);
        let fault = answer.miscalls.first().map(|first| told(first.fault));
        if let Some(told) = fault.or(breach.map(Breach::told)) {
            let miscalls = answer.miscalls.iter().map(problem_of);
            let breaches = breach.map(|breach| breach.problem().to_owned());
            let problems: Vec<String> =
                miscalls.chain(breaches).chain(problems).take(FAULTS_NAMED_MAX).collect();
            let problem = format!("{}; {}", problems.join("; "), self.offer());
            let place = if breach == Some(Breach::CalledNone) { Place::NoCall } else { Place::Calls };
            return Err(Flaw::new(told, problem, place, answer));
        }
        if calls.is_empty() {
            return Ok(());
        }
        let told = "the model called a tool with an input that its schema does not accept";
        Err(Flaw::new(told, problems.join("; "), Place::Inputs(calls), answer))
    }

    /// What may be called, for the model.
    fn offer(&self) -> String {
        let offered = |(name, _): &(String, Validator)| match &self.choice.mode {
            ToolChoiceMode::Auto | ToolChoiceMode::Required => Some(name.clone()),
            ToolChoiceMode::Never => None,
            ToolChoiceMode::Named(named) => (name == named).then(|| name.clone()),
        };
        let names: Vec<String> = self.tools.iter().filter_map(offered).collect();
        if names.is_empty() {
            return "no tool is on offer".to_owned();
        }
        format!("on offer: {}", names.join(", "))
    }

    fn check_text(&self, answer: &Answer) -> Result<String, Flaw> {
        let flaw = |told, problem: String| Flaw::new(told, problem, Place::Text, answer);
        let text = text_of(&answer.blocks);
        let validator = match &self.text {
            TextRule::Anything => return Ok(String::new()),
            TextRule::Object => None,
            TextRule::Schema(validator) => Some(validator),
        };
        let found = lenient::read(&text).map_err(|error| {
            flaw("the answer is not the JSON that was asked for", format!("it is not JSON: {error}"))
        })?;
        let accepts =
            |value: &Value| validator.map_or(value.is_object(), |validator| validator.is_valid(value));
        if let Some((json, _)) = found.iter().find(|(_, value)| accepts(value)) {
            return Ok(json.clone());
        }
        Err(match validator {
            None => flaw("the answer is JSON and no object", "it is JSON, but not an object".to_owned()),
            Some(validator) => {
                let faults = found.first().map(|(_, value)| faults(validator, value)).unwrap_or_default();
                flaw("the schema does not accept the answer", faults)
            }
        })
    }
}

impl Flaw {
    fn new(told: &'static str, problem: String, place: Place, answer: &Answer) -> Self {
        let (written, miscalls) = (answer.blocks.clone(), answer.miscalls.clone());
        Self { told, quoted: Box::new(Quoted { problem, place, written, miscalls }) }
    }

    /// What to add to the conversation, so that the model may do it right. What the model said is given back as far as its
    /// provider takes it: calls only where all of them can be, as each has to be answered, and thinking only where what it
    /// led to follows.
    #[must_use]
    pub fn repair(&self) -> Vec<Turn> {
        let Quoted { problem, place, written, .. } = &*self.quoted;
        let mut said: Vec<Block> = written.iter().filter(|block| is_sayable(block, place)).cloned().collect();
        if let Some(Block::Thinking(_)) = said.last() {
            said.retain(|block| !matches!(block, Block::Thinking(_)));
        }
        let answer: Vec<Block> = match place {
            Place::Text => vec![Block::Text(format!(
                "Your last answer is not what was asked for: {problem}. Answer again, with the corrected JSON and nothing else."
            ))],
            Place::Inputs(wrong) => {
                said.iter().filter_map(call).map(|call| refused(call, wrong, problem)).collect()
            }
            Place::Calls => vec![Block::Text(format!(
                "No call of your last answer was run: {problem}. Answer again, with what is right."
            ))],
            Place::NoCall => vec![Block::Text(format!(
                "Your last answer is not what was asked for: {problem}. Answer again, with a call."
            ))],
        };
        let mut turns = Vec::new();
        if !said.is_empty() {
            turns.push(Turn::new(Role::Assistant, said));
        }
        turns.push(Turn::new(Role::User, answer));
        turns
    }

    /// What the model wrote where it is wrong, or instead of what it should, for whoever asked: its text, or its calls
    /// as JSON.
    #[must_use]
    pub fn written(&self) -> String {
        let Quoted { place, written, miscalls, .. } = &*self.quoted;
        match place {
            Place::Text | Place::NoCall => text_of(written),
            Place::Inputs(_) | Place::Calls => {
                let calls = written.iter().filter_map(call);
                let calls = calls.map(|call| json!({ "name": call.name, "input": call.input }));
                let miscalls =
                    miscalls.iter().map(|call| json!({ "name": call.name, "input": call.arguments }));
                Value::Array(calls.chain(miscalls).collect()).to_string()
            }
        }
    }
}

/// A call that was not run, because its input, or that of another one, is wrong.
fn refused(call: &ToolUse, wrong: &[String], problem: &str) -> Block {
    let content = if wrong.contains(&call.id) {
        format!("Not run: {problem}. Call again with what is right.")
    } else {
        "Not run: another call of the same turn is wrong. Call again.".to_owned()
    };
    Block::ToolResult(ToolResult { id: call.id.clone(), content, is_error: true, parts: Vec::new() })
}

/// What is wrong with a call that cannot be run, for the model.
fn problem_of(miscall: &Miscall) -> String {
    let name = &miscall.name[..miscall.name.floor_char_boundary(NAME_BYTES_MAX)];
    match miscall.fault {
        CallFault::NotOffered => format!("you called {name}, which is not on offer"),
        CallFault::NoObject => match serde_json::from_str::<Value>(&miscall.arguments) {
            Ok(_) => format!("the input of {name} is JSON, but not an object"),
            Err(error) => format!("the input of {name} is not JSON: {error}"),
        },
        CallFault::SameId => format!("two calls, the later one of {name}, have the same id"),
    }
}

/// A fault without a piece of the answer.
fn told(fault: CallFault) -> &'static str {
    match fault {
        CallFault::NotOffered => "the model called a tool that was not offered",
        CallFault::NoObject => "the model called a tool with an input that is no JSON object",
        CallFault::SameId => "the model gave two tool calls the same id",
    }
}

/// The text of an answer, whole.
#[must_use]
pub fn text_of(blocks: &[Block]) -> String {
    let texts = blocks.iter().filter_map(|block| match block {
        Block::Text(text) => Some(text.as_str()),
        Block::ToolUse(_) | Block::ToolResult(_) | Block::Thinking(_) | Block::Media(_) => None,
    });
    texts.collect()
}

/// What may stand in an assistant's turn of the next request.
fn is_sayable(block: &Block, place: &Place) -> bool {
    match block {
        Block::Text(text) => !text.trim().is_empty(),
        // Thinking that leads to a call has to go back with it, and with no part of it alone.
        Block::ToolUse(_) | Block::Thinking(_) => *place != Place::Calls,
        Block::ToolResult(_) | Block::Media(_) => false,
    }
}

fn call(block: &Block) -> Option<&ToolUse> {
    match block {
        Block::ToolUse(call) => Some(call),
        Block::Text(_) | Block::ToolResult(_) | Block::Thinking(_) | Block::Media(_) => None,
    }
}

/// The first faults in one line; empty when there are none.
fn faults(validator: &Validator, value: &Value) -> String {
    let named = validator.iter_errors(value).take(FAULTS_NAMED_MAX).map(|error| {
        let place = error.instance_path().to_string();
        if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
    });
    named.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
