//! The loop against a host that is told what to answer.

use std::collections::VecDeque;

use bulkhead_proto::common::v1::Sensitivity;
use bulkhead_proto::tools::v1::ToolError;

use super::*;

/// Answers from lists, and keeps what it was sent.
#[derive(Default)]
struct Scripted {
    answers: VecDeque<GenerateResponse>,
    results: VecDeque<ToolResult>,
    asked: Vec<GenerateRequest>,
    called: Vec<(RunContext, ToolUse)>,
}

impl Host for Scripted {
    type Error = String;

    async fn tools(&mut self) -> Result<Vec<Tool>, String> {
        Ok(vec![Tool { name: "fs.read".into(), ..Tool::default() }])
    }

    async fn ask(&mut self, _step: u32, request: GenerateRequest) -> Result<GenerateResponse, String> {
        self.asked.push(request);
        self.answers.pop_front().ok_or_else(|| "no answer".to_owned())
    }

    async fn call_tool(&mut self, context: &RunContext, call: &ToolUse) -> Result<ToolResult, String> {
        self.called.push((context.clone(), call.clone()));
        self.results.pop_front().ok_or_else(|| "no result".to_owned())
    }
}

fn answer(stop_reason: StopReason, content: Vec<ContentBlock>) -> GenerateResponse {
    GenerateResponse {
        message: Some(turn(Role::Assistant, content)),
        stop_reason: stop_reason.into(),
        ..GenerateResponse::default()
    }
}

fn wants(name: &str) -> ContentBlock {
    let call = ToolUse { tool_use_id: format!("{name}-1"), name: name.into(), input_json: "{}".into() };
    ContentBlock { block: Some(Block::ToolUse(call)), ..ContentBlock::default() }
}

fn task(steps_max: u32) -> Task {
    Task {
        system: "s".into(),
        prompt: "p".into(),
        route: "r".into(),
        context: RunContext { dry_run: true, ..RunContext::default() },
        steps_max,
    }
}

fn reads() -> GenerateResponse {
    answer(StopReason::ToolUse, vec![wants("fs.read")])
}

#[tokio::test]
async fn labels_of_a_result_go_with_every_later_request() {
    let secret = ToolResult { sensitivity: vec![Sensitivity::Credentials.into()], ..ToolResult::default() };
    let mut host = Scripted {
        answers: [reads(), reads(), answer(StopReason::EndTurn, vec![text("done")])].into(),
        results: [secret, ToolResult::default()].into(),
        ..Scripted::default()
    };
    assert_eq!(run(&task(5), &mut host).await, Ok(Ended::Answered("done".into())));
    let labels: Vec<_> =
        host.asked.iter().map(|request| request.context.as_ref().unwrap().sensitivity.len()).collect();
    assert_eq!(labels, [0, 1, 1]);
    assert_eq!(host.called[1].0.sensitivity.len(), 1);
}

#[tokio::test]
async fn a_failed_tool_is_told_to_the_model_as_an_error() {
    let error = ToolError { message: "A person said no: keep it.".into(), ..ToolError::default() };
    let denied = ToolResult { error: Some(error), ..ToolResult::default() };
    let mut host = Scripted {
        answers: [reads(), answer(StopReason::EndTurn, vec![text("kept")])].into(),
        results: [denied].into(),
        ..Scripted::default()
    };
    run(&task(5), &mut host).await.unwrap();
    let last = host.asked[1].messages.last().unwrap();
    let Some(Block::ToolResult(result)) = &last.content[0].block else { panic!("{last:?}") };
    assert!(result.is_error && result.content.contains("keep it") && result.tool_use_id == "fs.read-1");
}

#[tokio::test]
async fn a_dry_run_asks_models_and_only_plans_tools() {
    let mut host = Scripted {
        answers: [reads(), answer(StopReason::EndTurn, vec![])].into(),
        results: [ToolResult::default()].into(),
        ..Scripted::default()
    };
    run(&task(5), &mut host).await.unwrap();
    assert!(!host.asked[0].context.as_ref().unwrap().dry_run);
    assert!(host.called[0].0.dry_run);
}

#[tokio::test]
async fn the_loop_ends_as_the_model_ends_or_after_the_last_step() {
    let table = [
        (StopReason::EndTurn, Ended::Answered("w".into())),
        (StopReason::Refusal, Ended::Declined("w".into())),
        (StopReason::MaxTokens, Ended::Cut("w".into())),
    ];
    for (reason, expected) in table {
        let mut host = Scripted { answers: [answer(reason, vec![text("w")])].into(), ..Scripted::default() };
        assert_eq!(run(&task(5), &mut host).await, Ok(expected));
    }
    let mut lost = Scripted {
        answers: [reads(), reads()].into(),
        results: [ToolResult::default(), ToolResult::default()].into(),
        ..Scripted::default()
    };
    assert_eq!(run(&task(2), &mut lost).await, Ok(Ended::StepsOver));
    let mut broken = Scripted::default();
    assert_eq!(run(&task(2), &mut broken).await, Err("no answer".to_owned()));
}

#[tokio::test]
async fn a_cut_answer_runs_no_tool() {
    let cut = answer(StopReason::MaxTokens, vec![wants("fs.delete")]);
    let mut host = Scripted { answers: [cut].into(), ..Scripted::default() };
    assert_eq!(run(&task(2), &mut host).await, Ok(Ended::Cut(String::new())));
    assert!(host.called.is_empty());
}
