//! Generate, plain and as a stream, from the checked request to the recorded answer.

mod kept;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_edge::Call;
use bulkhead_idempotency::memory::Memory;
use bulkhead_idempotency::{Claim, PayloadDigest, Request};
use bulkhead_outbox::EventDraft;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1 as pb;
use prost::DecodeError;
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::balance::Draw;
use crate::catalog::Catalog;
use crate::clearance::{self, Sensitivity};
use crate::config::RouteConfig;
use crate::generate::{self, Answered, Run, Unanswered};
use crate::grpc::convert::{self, Question};
use crate::ledger::{Exhausted, Statement};
use crate::listener::Recovery;
use crate::meter::{Caller, Refusal};
use crate::output::Rules;
use crate::plan::{Needs, Plan};
use crate::record::{CallRecord, Ending, Facts, RecordError, Recorder};
use crate::reload::Catalogs;
use crate::spend::Caps;
use crate::tokens::{Measured, Size};

pub(crate) use kept::Kept;
pub(crate) use stream::{Joinable, Messages};

/// A checked request.
#[derive(Debug)]
pub(crate) struct Command {
    /// In force when the request came; its route is of it.
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) request_id: Uuid,
    pub(crate) payload: PayloadDigest,
    pub(crate) route: Arc<RouteConfig>,
    pub(crate) prompt: Measured,
    pub(crate) rules: Arc<Rules>,
    pub(crate) sensitivity: Vec<Sensitivity>,
    pub(crate) context: RunContext,
    /// What the request may take; what it does not say, its route says.
    pub(crate) caps: Caps,
    /// Of a stream, in place of the route's: a door that cannot say what is void.
    pub(crate) recovery: Option<Recovery>,
    /// Of a stream: what models think is not passed on.
    pub(crate) without_thinking: bool,
    /// The caller knows the id, so that the answer is worth keeping for a second request.
    pub(crate) is_named: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum GenerateError {
    /// The request id belongs to another payload.
    RequestIdReused { request_id: Uuid },
    /// The route did not answer.
    Unanswered { route: String, local_only: bool, attempts: Vec<Attempt>, why: Unanswered },
    /// The caller asked for more than one of its limits allows.
    Limited { limit: String, tokens: u64, retry_after: Option<Duration> },
    /// A budget is used up.
    Exhausted(Exhausted),
    /// The call could not be recorded, so no model was called.
    Record(RecordError),
    /// What was spent could not be read.
    Unreadable(sqlx::Error),
    /// Models were called, and that could not be recorded.
    Withheld(RecordError),
    /// What was kept of the first request with the id is damaged.
    Kept(DecodeError),
}

impl From<Refusal> for GenerateError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Read(error) => Self::Record(error.into()),
            Refusal::Limited { limit, tokens, retry_after } => Self::Limited { limit, tokens, retry_after },
            Refusal::Exhausted(exhausted) => Self::Exhausted(exhausted),
        }
    }
}

impl From<DecodeError> for GenerateError {
    fn from(error: DecodeError) -> Self {
        Self::Kept(error)
    }
}

impl From<RecordError> for GenerateError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// What Generate works with. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) catalogs: Catalogs,
    pub(crate) recorder: Recorder,
    pub(crate) replay: Memory<Kept<pb::GenerateResponse>>,
    pub(crate) streams: Memory<Kept<pb::StreamCompleted>, Joinable>,
}

impl Service {
    /// The catalog in force. Asked for once in a call, which keeps it.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalogs.current()
    }

    /// Answers from memory, or plans, calls, records and remembers.
    pub(crate) async fn generate(
        &self,
        call: &Call,
        command: Command,
    ) -> Result<pb::GenerateResponse, GenerateError> {
        if command.context.dry_run {
            return self.dry_run(call, &command).await;
        }
        let request_id = command.request_id;
        let payload = command.payload.clone();
        let request = Request::new(call.tenant(), call.principal(), "Generate", request_id, payload);
        match self.replay.claim(&request).await {
            Claim::Seen(answer) => Ok(answer.message()?),
            Claim::Reused => Err(GenerateError::RequestIdReused { request_id }),
            Claim::New(first) => {
                let is_named = command.is_named;
                let answer = self.answer(call, command).await?;
                if is_named {
                    let kept = Kept::of(&answer);
                    let bytes = kept.bytes();
                    first.answered(kept, bytes);
                }
                Ok(answer)
            }
        }
    }

    /// What was spent of a tenant's budgets; of one session's, if it is given.
    pub(crate) async fn budgets(
        &self,
        tenant: &str,
        session_id: &str,
    ) -> Result<Vec<Statement>, GenerateError> {
        let catalog = self.catalog();
        let ledger = catalog.meters().ledger();
        let statements = ledger.statements(tenant, session_id, bulkhead_edge::now()).await;
        statements.map_err(GenerateError::Unreadable)
    }

    /// A plan without the models that a budget or the request's own caps would stand against now.
    pub(crate) async fn affordable(
        &self,
        call: &Call,
        catalog: &Catalog,
        question: &Question,
        plan: Plan,
        now: Instant,
    ) -> Result<Plan, GenerateError> {
        let caller = Caller { principal: call.principal().clone(), session_id: question.session.clone() };
        let size = question.prompt.as_ref().map(Size::of);
        let (caps, wall) = (question.caps.within(question.route.caps), bulkhead_edge::now());
        let look =
            catalog.meters().look(&caller, size, caps, wall).await.map_err(GenerateError::Unreadable)?;
        Ok(plan.without(|model| look.denied(model, wall).and_then(|denied| denied.told(now))))
    }

    async fn answer(&self, call: &Call, command: Command) -> Result<pb::GenerateResponse, GenerateError> {
        let (route, rules) = (Arc::clone(&command.route), Arc::clone(&command.rules));
        let catalog = Arc::clone(&command.catalog);
        let session = command.context.session_id.clone();
        let mut record = self.open(call, &command).await?;
        let clearance = clearance::clear(command.prompt, &command.sensitivity);
        let deadline = Instant::now() + call.remaining();
        let mut run =
            Run::new(&catalog, &route, &clearance, &rules, deadline, &mut record).of_session(&session);
        let result = run.follow().await;
        let called = !record.attempts().is_empty();
        let closed = record.close(&ending(&result, called)).await;
        let attempts =
            closed.map_err(if called { GenerateError::Withheld } else { GenerateError::Record })?;
        match result {
            Ok(answered) => Ok(convert::response(answered, &attempts)),
            Err(why) => {
                let local_only = clearance.is_local_only();
                Err(GenerateError::Unanswered { route: route.name.clone(), local_only, attempts, why })
            }
        }
    }

    /// Nothing is called for whom a limit or a budget stands against, and no event of the call is written: a caller in a loop
    /// would fill the outbox with them. That a budget is used up is told once.
    async fn open(&self, call: &Call, command: &Command) -> Result<CallRecord, GenerateError> {
        let caller =
            Caller { principal: call.principal().clone(), session_id: command.context.session_id.clone() };
        let (size, route) = (command.prompt.size(), &command.route);
        let (meters, caps) = (command.catalog.meters(), command.caps.within(route.caps));
        let opened = meters.open(caller, size, route.models(), caps).await;
        let meter = opened.inspect_err(|_refusal| self.recorder.tell(meters))?;
        let draft = EventDraft::new("model.call", bulkhead_edge::now(), call.principal())
            .context(&command.context)
            .subject(command.request_id)
            .request(call.request_id());
        let facts = Facts {
            route: command.route.name.clone(),
            local_only: clearance::decide(&command.sensitivity).local_only,
            sensitivity: command.sensitivity.iter().map(|category| category.as_str()).collect(),
            deadline: call.deadline(),
        };
        Ok(self.recorder.open(draft, facts, meter)?)
    }

    /// The plan and nothing else: no model is called and nothing is written.
    async fn dry_run(&self, call: &Call, command: &Command) -> Result<pb::GenerateResponse, GenerateError> {
        let (catalog, route, session) = (&command.catalog, &command.route, &command.context.session_id);
        let local_only = clearance::decide(&command.sensitivity).local_only;
        let unanswered = |why| GenerateError::Unanswered {
            route: route.name.clone(),
            local_only,
            attempts: Vec::new(),
            why,
        };
        let needs = Needs::of(local_only, &command.prompt);
        let plan = generate::plan(catalog, route, needs, Draw::new(session)).map_err(unanswered)?;
        let caller = Caller { principal: call.principal().clone(), session_id: session.clone() };
        let (caps, wall) = (command.caps.within(route.caps), bulkhead_edge::now());
        let look = catalog.meters().look(&caller, Some(needs.size), caps, wall).await;
        let look = look.map_err(GenerateError::Unreadable)?;
        let against = |model| look.denied(model, wall);
        let plan = generate::affordable(plan, catalog, against, Instant::now()).map_err(unanswered)?;
        Ok(convert::planned_response(&plan))
    }
}

/// `called`: something was sent, whatever became of it.
fn ending(result: &Result<Answered, Unanswered>, called: bool) -> Ending {
    match result {
        Ok(answered) => Ending {
            outcome: "answered",
            model: answered.model.clone(),
            usage: answered.answer.usage,
            stop_reason: Some(answered.answer.stop_reason),
            error: "",
        },
        Err(why) => {
            let refused = why.is_refusal() && !called;
            let outcome = if refused { "refused" } else { "failed" };
            Ending { outcome, error: why.reason(), ..Ending::default() }
        }
    }
}
