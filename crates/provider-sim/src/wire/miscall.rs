//! Calls of tools that no agent can run.

use serde_json::json;

use super::answer::{Answer, Arguments, Call};
use super::question::{Offered, Question};
use super::schema::{smallest, wrong};
use crate::control::{StopReason, ToolFault};

/// A tool that nobody offers.
const UNOFFERED: &str = "simulated_tool";

impl Question {
    /// An answer that calls a tool wrongly.
    pub(crate) fn miscall(&self, fault: ToolFault) -> Answer {
        let unoffered = Offered { name: UNOFFERED.to_owned(), schema: json!({ "type": "object" }) };
        let tool = match fault {
            ToolFault::Unoffered => &unoffered,
            ToolFault::BadJson | ToolFault::WrongInput | ToolFault::SameId => {
                self.forced().or_else(|| self.tools.first()).unwrap_or(&unoffered)
            }
        };
        let right = smallest(&tool.schema);
        let (arguments, count) = match fault {
            ToolFault::BadJson => (Arguments::Raw(cut(&right.to_string())), 1),
            ToolFault::WrongInput => (Arguments::Json(wrong(&tool.schema)), 1),
            ToolFault::Unoffered => (Arguments::Json(right), 1),
            ToolFault::SameId => (Arguments::Json(right), 2),
        };
        let call = Call { name: tool.name.clone(), number: 0, arguments };
        let calls = vec![call; count];
        let mut answer = Answer { calls, stop_reason: StopReason::ToolUse, ..Answer::default() };
        answer.usage = self.estimate(&answer);
        answer
    }
}

/// Without its last character, JSON of an object is none.
fn cut(json: &str) -> String {
    let mut chars = json.chars();
    chars.next_back();
    chars.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::question::Choice;
    use crate::wire::question::samples::question;

    #[test]
    fn each_fault_spoils_the_call_in_its_way() {
        let schema =
            json!({ "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"] });
        let offered = |name: &str| Offered { name: name.into(), schema: schema.clone() };
        let tools = vec![offered("fs_list"), offered("fs_read")];
        let question = Question { tools, choice: Choice::Named("fs_read".into()), ..question() };
        for (fault, name, arguments, count) in [
            (ToolFault::BadJson, "fs_read", r#"{"path":"""#, 1),
            (ToolFault::WrongInput, "fs_read", r#"{"path":true}"#, 1),
            (ToolFault::Unoffered, UNOFFERED, "{}", 1),
            (ToolFault::SameId, "fs_read", r#"{"path":""}"#, 2),
        ] {
            let calls = question.miscall(fault).calls;
            assert_eq!(calls.len(), count, "{fault:?}");
            assert!(calls.iter().all(|call| call.number == 0));
            assert_eq!((calls[0].name.as_str(), calls[0].arguments.text().as_str()), (name, arguments));
        }
    }

    #[test]
    fn where_no_tool_is_offered_one_is_called_all_the_same() {
        let question = Question { tools: vec![], ..question() };
        let call = &question.miscall(ToolFault::BadJson).calls[0];
        assert_eq!((call.name.as_str(), call.arguments.text().as_str()), (UNOFFERED, "{"));
    }
}
