//! Whether an answer is what the request asked for, and how to ask again when it is not. Pure.
//!
//! Promises that a structured answer is given only when it is JSON that the schema accepts, and a tool call only when
//! its input is what the tool's schema accepts; that the tool is on offer and the id unique is the adapters' promise. What a model wrote is quoted to the
//! model alone: nothing here that is logged or recorded holds a piece of it.

mod lenient;

use std::fmt;

use jsonschema::Validator;
use serde_json::Value;

use crate::chat::{
    Answer, Block, Object, Prompt, ResponseFormat, Role, StopReason, ToolResult, ToolUse, Turn,
};

/// Faults that one message to a model names.
const FAULTS_NAMED_MAX: usize = 5;

/// What an answer has to keep.
pub struct Rules {
    tools: Vec<(String, Validator)>,
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
    /// The ids of the calls that are wrong; none when the text is.
    calls: Vec<String>,
    /// What the model wrote.
    written: Vec<Block>,
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
        if wrong.is_empty() { Ok(Self { tools, text, repairs_max }) } else { Err(wrong) }
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
        self.check_calls(&answer.blocks)?;
        let has_calls = answer.blocks.iter().any(|block| call(block).is_some());
        if has_calls || answer.stop_reason == StopReason::Refusal {
            return Ok(String::new());
        }
        self.check_text(&answer.blocks)
    }

    fn check_calls(&self, blocks: &[Block]) -> Result<(), Flaw> {
        let mut wrong = Vec::new();
        for call in blocks.iter().filter_map(call) {
            let input = Value::Object(call.input.clone());
            let known = self.tools.iter().find(|(name, _)| *name == call.name);
            let faults = known.map(|(_, validator)| faults(validator, &input)).unwrap_or_default();
            if !faults.is_empty() {
                wrong.push((call.id.clone(), format!("the input of {} is wrong: {faults}", call.name)));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let (calls, problems): (Vec<String>, Vec<String>) = wrong.into_iter().unzip();
        let told = "the model called a tool with an input that its schema does not accept";
        Err(Flaw::new(told, problems.join("; "), calls, blocks))
    }

    fn check_text(&self, blocks: &[Block]) -> Result<String, Flaw> {
        let flaw = |told, problem: String| Flaw::new(told, problem, Vec::new(), blocks);
        let text = text_of(blocks);
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
    fn new(told: &'static str, problem: String, calls: Vec<String>, written: &[Block]) -> Self {
        Self { told, quoted: Box::new(Quoted { problem, calls, written: written.to_vec() }) }
    }

    /// What to add to the conversation, so that the model may do it right.
    #[must_use]
    pub fn repair(&self) -> Vec<Turn> {
        let said: Vec<Block> =
            self.quoted.written.iter().filter(|block| is_sayable(block)).cloned().collect();
        let answer: Vec<Block> = if self.quoted.calls.is_empty() {
            vec![Block::Text(format!(
                "This answer is not what was asked for: {}. Answer again, with the corrected JSON and nothing else.",
                self.quoted.problem
            ))]
        } else {
            said.iter().filter_map(call).map(|call| self.refused(call)).collect()
        };
        let mut turns = Vec::new();
        if !said.is_empty() {
            turns.push(Turn { role: Role::Assistant, blocks: said });
        }
        turns.push(Turn { role: Role::User, blocks: answer });
        turns
    }

    /// What the model wrote, for whoever asked.
    #[must_use]
    pub fn written(&self) -> &[Block] {
        &self.quoted.written
    }

    fn refused(&self, call: &ToolUse) -> Block {
        let content = if self.quoted.calls.contains(&call.id) {
            format!("Not run: {}. Call again with what is right.", self.quoted.problem)
        } else {
            "Not run: another call of the same turn is wrong. Call again.".to_owned()
        };
        Block::ToolResult(ToolResult { id: call.id.clone(), content, is_error: true, parts: Vec::new() })
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
fn is_sayable(block: &Block) -> bool {
    match block {
        Block::Text(text) => !text.trim().is_empty(),
        // Thinking that leads to a call has to go back with it.
        Block::ToolUse(_) | Block::Thinking(_) => true,
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
mod tests {
    use super::*;
    use crate::chat::Usage;
    use crate::provider::samples;
    use serde_json::json;

    fn rules(format: ResponseFormat) -> Rules {
        let mut prompt = Prompt { response_format: format, ..samples::conversation() };
        prompt.tools[0].input_schema = samples::object(
            json!({ "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"] }),
        );
        Rules::of(&prompt, 2).expect("schemas")
    }

    fn counted() -> ResponseFormat {
        let schema =
            json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        ResponseFormat::JsonSchema { name: "count".into(), schema: samples::object(schema) }
    }

    fn answer(blocks: Vec<Block>, stop_reason: StopReason) -> Answer {
        Answer { blocks, stop_reason, usage: Usage::default(), provider_model: "m".into() }
    }

    fn said(text: &str) -> Answer {
        answer(vec![Block::Text(text.into())], StopReason::EndTurn)
    }

    fn calls(calls: &[(&str, Value)]) -> Answer {
        let call = |(id, input): &(&str, Value)| {
            Block::ToolUse(ToolUse {
                id: (*id).into(),
                name: "fs.read".into(),
                input: samples::object(input.clone()),
            })
        };
        answer(calls.iter().map(call).collect(), StopReason::ToolUse)
    }

    #[test]
    fn json_is_given_when_the_schema_accepts_it_however_it_was_wrapped() {
        let cases = [
            (r#"{"n":1}"#, Some(r#"{"n":1}"#)),
            ("Here you are:\n```json\n{\"n\": 2,}\n```\nDone.", Some(r#"{"n": 2}"#)),
            (r#"As in [1], it is {"n":3}."#, Some(r#"{"n":3}"#)),
            (r#"{"n":"one"}"#, None),
            ("[1]", None),
            ("none", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let given = rules(counted()).check(&said(text)).ok();
            assert_eq!(given.as_deref(), expected, "{text}");
        }
        let object = rules(ResponseFormat::JsonObject);
        assert_eq!(object.check(&said("{}")).as_deref(), Ok("{}"));
        assert_eq!(object.check(&said("[]")).expect_err("a list").told, "the answer is JSON and no object");
        assert_eq!(rules(ResponseFormat::Text).check(&said("none")).as_deref(), Ok(""));
    }

    #[test]
    fn a_refusal_and_a_call_for_tools_are_no_structured_answers() {
        let refusal = answer(vec![Block::Text("No.".into())], StopReason::Refusal);
        let call = calls(&[("t2", json!({ "path": "b.md" }))]);
        for answer in [refusal, call] {
            assert_eq!(rules(counted()).check(&answer).as_deref(), Ok(""));
        }
        let cut = answer(vec![Block::Text(r#"{"n":"#.into())], StopReason::MaxTokens);
        assert!(rules(counted()).check(&cut).is_err(), "cut JSON is no JSON");
    }

    #[test]
    fn each_call_is_checked_against_its_schema() {
        let rules = rules(ResponseFormat::Text);
        let right = json!({ "path": "b.md" });
        assert!(rules.check(&calls(&[("t2", right.clone()), ("t3", right.clone())])).is_ok());
        for wrong in [
            calls(&[("t2", json!({}))]),
            calls(&[("t2", json!({ "path": 7 }))]),
            calls(&[("t2", right), ("t3", json!({ "path": null }))]),
        ] {
            assert!(rules.check(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_repair_tells_the_model_what_was_wrong_where_it_was_wrong() {
        let flaw = rules(counted()).check(&said("{\"n\":true}")).expect_err("a flaw");
        let turns = flaw.repair();
        assert_eq!(turns[0].blocks, [Block::Text("{\"n\":true}".into())]);
        let Block::Text(told) = &turns[1].blocks[0] else { panic!("text") };
        assert!(told.contains("/n: true is not of type \"integer\""), "{told}");
        assert!(!format!("{flaw:?}").contains("true"), "debug output quotes nothing");

        let wrong = calls(&[("t2", json!({ "path": "b.md" })), ("t3", json!({}))]);
        let turns = rules(ResponseFormat::Text).check(&wrong).expect_err("a flaw").repair();
        assert_eq!((turns[0].role, turns[0].blocks.len()), (Role::Assistant, 2));
        let results: Vec<(&str, bool)> = turns[1]
            .blocks
            .iter()
            .map(|block| {
                let Block::ToolResult(result) = block else { panic!("a result") };
                (result.id.as_str(), result.content.contains("\"path\" is a required property"))
            })
            .collect();
        assert_eq!(results, [("t2", false), ("t3", true)]);
    }

    #[test]
    fn an_answer_without_a_word_is_asked_for_again_without_repeating_it() {
        let flaw = rules(counted()).check(&said(" ")).expect_err("a flaw");
        let turns = flaw.repair();
        assert_eq!((turns.len(), turns[0].role), (1, Role::User));
    }

    #[test]
    fn a_schema_that_is_none_is_told_by_its_field() {
        let mut prompt = Prompt { response_format: samples::a_schema(), ..samples::conversation() };
        let none = samples::object(json!({ "type": "no such type" }));
        prompt.tools[0].input_schema = none.clone();
        prompt.response_format = ResponseFormat::JsonSchema { name: "x".into(), schema: none };
        let wrong = Rules::of(&prompt, 2).expect_err("no schemas");
        let fields: Vec<&str> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
        assert_eq!(fields, ["tools[0].input_schema_json", "response_format.schema_json"]);
    }

    #[test]
    fn no_schema_is_fetched_from_anywhere() {
        for address in ["http://127.0.0.1:1/schema.json", "file:///etc/hostname"] {
            let schema = samples::object(json!({ "$ref": address }));
            let response_format = ResponseFormat::JsonSchema { name: "x".into(), schema };
            let prompt = Prompt { response_format, ..samples::conversation() };
            assert!(Rules::of(&prompt, 2).is_err(), "{address}");
        }
    }
}
