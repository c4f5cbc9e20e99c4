//! Between the contract's messages and our own types; every violation at once.

mod answer;

use std::mem;
use std::time::Duration;

use bulkhead_edge::page::{self, Page};
use bulkhead_edge::{Call, Fault, Violations, wire};
use bulkhead_idempotency::{PayloadDigest, Request};
use bulkhead_proto::common::v1 as common;
use bulkhead_proto::tools::v1 as pb;
use uuid::Uuid;

use crate::engine::{Command, Patience, Work};
use crate::execution::{RunContext, State};
use crate::policy::Caller;
use crate::store::{Filter, ListedPage};
use crate::tool::SensitivityLabel;
use crate::toolbox::Toolbox;

pub(super) use answer::{execution, plan_answer, previewed};

/// Longest tool name, in bytes. It stands in every event about the call.
const TOOL_NAME_BYTES_MAX: usize = 128;

/// A checked request, and what to do with it.
pub(super) struct Asked {
    pub(super) command: Command,
    pub(super) mode: Mode,
}

/// Whether to act.
pub(super) enum Mode {
    /// Only say what would happen.
    DryRun,
    /// Do it, once for this request.
    Act { request: Request, patience: Patience },
}

/// Who looks, and whether at all of the tenant.
pub(super) fn viewer(call: &Call) -> (Caller, bool) {
    let caller = Caller { principal: call.principal().clone(), roles: call.roles().to_vec() };
    (caller, call.has_role("operator") || call.has_role("auditor"))
}

/// See PlanToolCallRequest.
pub(super) fn plan(call: &Call, request: pb::PlanToolCallRequest) -> Result<Command, Fault> {
    let mut violations = Violations::new();
    let (context, _dry_run) = context(request.context, &mut violations);
    let work = tool_call(request.call, &mut violations);
    violations.finish(work.map(|work| command(call, context, work)))
}

/// See ExecuteToolCallRequest.
pub(super) fn execute(call: &Call, mut request: pb::ExecuteToolCallRequest) -> Result<Asked, Fault> {
    let mut violations = Violations::new();
    let (sent_id, sent_wait) = (mem::take(&mut request.request_id), request.wait_for_approval.take());
    let payload = PayloadDigest::of(&request);
    let (context, dry_run) = context(request.context, &mut violations);
    let wait = wait(sent_wait, &mut violations);
    let work = tool_call(request.call, &mut violations);
    let id = if dry_run { None } else { violations.uuid("request_id", &sent_id) };
    let command = violations.finish(work.map(|work| command(call, context, work)))?;
    Ok(asked(call, command, id.map(|id| request_of(call, "ExecuteToolCall", id, payload)), wait))
}

/// See UndoExecutionRequest.
pub(super) fn undo(call: &Call, mut request: pb::UndoExecutionRequest) -> Result<Asked, Fault> {
    let mut violations = Violations::new();
    let (sent_id, sent_wait) = (mem::take(&mut request.request_id), request.wait_for_approval.take());
    let payload = PayloadDigest::of(&request);
    let (context, dry_run) = context(request.context, &mut violations);
    let wait = wait(sent_wait, &mut violations);
    let of = violations.uuid("execution_id", &request.execution_id);
    let id = if dry_run { None } else { violations.uuid("request_id", &sent_id) };
    let work = of.map(|of| Work::Undo { of, force: request.force });
    let command = violations.finish(work.map(|work| command(call, context, work)))?;
    Ok(asked(call, command, id.map(|id| request_of(call, "UndoExecution", id, payload)), wait))
}

fn request_of(call: &Call, method: &'static str, id: Uuid, payload: PayloadDigest) -> Request {
    Request::new(call.tenant(), call.principal(), method, id, payload)
}

fn asked(call: &Call, command: Command, request: Option<Request>, wait: Duration) -> Asked {
    let mode = match request {
        None => Mode::DryRun,
        Some(request) => Mode::Act { request, patience: Patience::new(wait, call.remaining()) },
    };
    Asked { command, mode }
}

fn command(call: &Call, context: RunContext, work: Work) -> Command {
    let (caller, sees_tenant) = viewer(call);
    Command { caller, sees_tenant, context, call_id: call.request_id().to_owned(), work }
}

fn tool_call(call: Option<pb::ToolCall>, violations: &mut Violations) -> Option<Work> {
    let Some(call) = call else {
        violations.add("call", "is required");
        return None;
    };
    let is_name = (1..=TOOL_NAME_BYTES_MAX).contains(&call.tool.len())
        && call.tool.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    violations.require(is_name, "call.tool", "must be 1 to 128 characters of [A-Za-z0-9._-], like fs.read");
    Some(Work::Call { tool: call.tool, arguments_json: call.arguments_json })
}

fn context(sent: Option<common::RunContext>, violations: &mut Violations) -> (RunContext, bool) {
    let context = wire::read_context(sent, violations);
    let sensitivity = context.sensitivity().filter_map(label).collect();
    let dry_run = context.dry_run;
    let context = RunContext {
        session_id: context.session_id,
        run_id: context.run_id,
        step: context.step,
        sensitivity,
    };
    (context, dry_run)
}

fn label(sensitivity: common::Sensitivity) -> Option<SensitivityLabel> {
    match sensitivity {
        // Refused by `read_context` already.
        common::Sensitivity::Unspecified => None,
        common::Sensitivity::Credentials => Some(SensitivityLabel::Credentials),
        common::Sensitivity::Financial => Some(SensitivityLabel::Financial),
        common::Sensitivity::Health => Some(SensitivityLabel::Health),
        common::Sensitivity::PrivateStrategy => Some(SensitivityLabel::PrivateStrategy),
        common::Sensitivity::PersonalData => Some(SensitivityLabel::PersonalData),
    }
}

fn wait(sent: Option<prost_types::Duration>, violations: &mut Violations) -> Duration {
    let read = sent.and_then(|span| wire::read_duration(span, "wait_for_approval", violations));
    read.unwrap_or(Duration::ZERO)
}

/// An execution id.
pub(super) fn execution_id(text: &str) -> Result<Uuid, Fault> {
    let mut violations = Violations::new();
    let id = violations.uuid("execution_id", text);
    violations.finish(id)
}

/// The tools of a page.
pub(super) fn tools_page(request: &pb::ListToolsRequest) -> Result<Page, Fault> {
    let mut violations = Violations::new();
    let page = Page::read(request.page_size, &request.page_token, "tools", &mut violations);
    violations.finish(Some(page))
}

/// See ListToolsResponse. The cursor is how many tools came before.
pub(super) fn tools(toolbox: &Toolbox, page: Page) -> pb::ListToolsResponse {
    let skipped = page.after.unwrap_or(0);
    let start = usize::try_from(skipped).unwrap_or(usize::MAX);
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let tools: Vec<pb::Tool> = toolbox.entries().skip(start).take(size).map(answer::tool).collect();
    let told = skipped.saturating_add(u64::try_from(tools.len()).unwrap_or(u64::MAX));
    let more = toolbox.entries().nth(start.saturating_add(tools.len())).is_some();
    let next_page_token = if more { page::token(told, "tools") } else { String::new() };
    pb::ListToolsResponse { tools, next_page_token }
}

/// A page of executions.
pub(super) struct Listing {
    pub(super) filter: Filter,
    pub(super) page: Page,
    filters: String,
}

/// See ListExecutionsRequest.
pub(super) fn listing(call: &Call, request: &pb::ListExecutionsRequest) -> Result<Listing, Fault> {
    let mut violations = Violations::new();
    let (caller, sees_tenant) = viewer(call);
    let state = answer::read_state(request.state, &mut violations);
    violations.context_id("session_id", &request.session_id);
    let filter = Filter {
        tenant: caller.principal.tenant.clone(),
        principal: (!sees_tenant).then(|| caller.principal.to_string()),
        state,
        session_id: (!request.session_id.is_empty()).then(|| request.session_id.clone()),
    };
    let filters = format!(
        "{} {:?} {:?} {:?}",
        filter.tenant,
        filter.principal,
        filter.state.map(State::as_str),
        filter.session_id
    );
    let page = Page::read(request.page_size, &request.page_token, &filters, &mut violations);
    violations.finish(Some(Listing { filter, page, filters }))
}

impl Listing {
    /// See ListExecutionsResponse.
    pub(super) fn answer(&self, found: &ListedPage) -> pb::ListExecutionsResponse {
        let last = found.listed.last().filter(|_| found.more);
        pb::ListExecutionsResponse {
            executions: found.listed.iter().map(|listed| execution(&listed.execution)).collect(),
            next_page_token: last.map_or_else(String::new, |last| page::token(last.seq, &self.filters)),
        }
    }
}
