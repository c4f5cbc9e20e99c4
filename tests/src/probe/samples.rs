//! One valid message for every implemented RPC, with every field set, and the world in which it is valid.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_canonical_json::sha256_hex;
use bytes::Bytes;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, Value as Field};
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Answer, Ask, Wire, framed};
use super::{Callers, Method, implemented};
use crate::{Options, Sandbox, eventually};

/// What a unary call may take. Generous: nothing in these tests is about time.
const UNARY_TIMEOUT: &str = "30S";
/// What a stream gets that may have nothing to say.
const STREAM_TIMEOUT: &str = "300m";
/// How long services may take to read their token file again on a busy machine.
const START_BOUND: Duration = Duration::from_secs(30);
/// The gRPC code of a credential that nobody knows.
const UNAUTHENTICATED: i32 = 16;

/// A running stack with something in it.
#[derive(Debug)]
pub struct World {
    /// The stack.
    pub sandbox: Arc<Sandbox>,
    /// The client.
    pub wire: Wire,
    /// Who asks.
    pub callers: Callers,
}

impl World {
    /// Starts a stack.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        let sandbox = Arc::new(Sandbox::start(Options::default()).await?);
        let callers = Callers::of_the_stack(&sandbox)?;
        Ok(Self { sandbox, wire: Wire::default(), callers })
    }

    /// The same stack as others see it: `name` and an owner, agents, services, one for each role, in a tenant.
    ///
    /// # Errors
    /// When the services do not take them in.
    pub async fn with_others(&self, tenant: &str, name: &str) -> anyhow::Result<Self> {
        let callers = Callers::admitted(&self.sandbox, tenant, name)?;
        let world = Self { sandbox: Arc::clone(&self.sandbox), wire: self.wire.clone(), callers };
        for method in implemented()? {
            // Which of the services have read the file again.
            eventually("the new callers to be known", START_BOUND, || async {
                Ok((world.ask(&method, b"").await?.code != UNAUTHENTICATED).then_some(()))
            })
            .await?;
        }
        Ok(world)
    }

    /// A call by whoever the contract names first, or by another token's holder.
    ///
    /// # Errors
    /// When the method has no roles, or a file of the sandbox is missing.
    pub fn call(&self, method: &Method, message: &[u8]) -> anyhow::Result<Ask> {
        let role = method.rule.roles.first().context("an RPC for nobody")?;
        // That of a model ends with its answer; the others go on as long as there may be news.
        let is_endless = method.rule.server_streaming && method.rule.method != "StreamGenerate";
        Ok(Ask {
            address: self.sandbox.address(method.process())?,
            path: method.path(),
            token: self.callers.token(role)?,
            timeout: if is_endless { STREAM_TIMEOUT } else { UNARY_TIMEOUT },
            body: framed(message),
            streams: is_endless,
            ..Ask::default()
        })
    }

    /// Makes that call.
    ///
    /// # Errors
    /// When no gRPC answer comes.
    pub async fn ask(&self, method: &Method, message: &[u8]) -> anyhow::Result<Answer> {
        self.wire.ask(self.call(method, message)?).await
    }

    /// Whether a service says that it can work.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn is_ready(&self, service: &str) -> anyhow::Result<bool> {
        let url = format!("http://{}/readyz", self.sandbox.address(service)?);
        self.wire.get(url).await
    }

    /// A valid message that was never sent, and makes what it needs: a decision its open approval, an undo
    /// its execution.
    ///
    /// # Errors
    /// When the RPC has no sample here, or what it needs cannot be made.
    pub async fn sample(&self, method: &Method) -> anyhow::Result<DynamicMessage> {
        let json = match method.rule.method.as_str() {
            "ListTools" | "ListModels" | "ListBudgets" | "ListSigningKeys" => json!({"pageSize": 10}),
            "ListApprovals" => json!({"pageSize": 10, "state": "APPROVAL_STATE_PENDING"}),
            "ListExecutions" => {
                json!({"pageSize": 10, "state": "EXECUTION_STATE_SUCCEEDED", "sessionId": "s-1"})
            }
            "GetCheckpoint" => json!({}),
            "QueryEvents" => query(),
            "AppendEvents" => {
                let event = || event(&self.callers.tenant);
                json!({"requestId": Uuid::now_v7(), "events": [event(), event()]})
            }
            "ExplainRoute" => json!({"route": "default", "context": context()}),
            "Generate" => generate(),
            "StreamGenerate" => {
                let mut asked = generate();
                let request_id = asked.as_object_mut().and_then(|asked| asked.remove("requestId"));
                json!({"requestId": request_id, "generate": asked})
            }
            "PlanToolCall" => json!({"call": write(), "context": context()}),
            "ExecuteToolCall" => json!({
                "requestId": Uuid::now_v7(), "call": write(), "context": context(), "waitForApproval": "0.5s",
            }),
            "GetExecution" | "WatchExecution" => json!({"executionId": self.execution().await?}),
            "UndoExecution" => json!({
                "requestId": Uuid::now_v7(), "executionId": self.execution().await?, "force": false,
                "waitForApproval": "0.5s", "context": context(),
            }),
            "CreateApproval" => question(&self.callers.tenant),
            "GetApproval" => json!({"approvalId": self.approval().await?["approvalId"]}),
            "WatchApprovals" => json!({"afterRevision": 1}),
            "DecideApproval" => {
                let approval = self.approval().await?;
                json!({
                    "requestId": Uuid::now_v7(), "approvalId": approval["approvalId"],
                    "decision": "DECISION_DENY", "reason": "not today", "planDigest": approval["planDigest"],
                })
            }
            other => anyhow::bail!("{other} has no sample: add one"),
        };
        DynamicMessage::deserialize(method.input.clone(), json).context("a sample that is no message")
    }

    /// Calls another RPC with a valid sample of it, and returns the answer as JSON.
    async fn made_by(&self, name: &str) -> anyhow::Result<Value> {
        let all = implemented()?;
        let method = all.iter().find(|method| method.rule.method == name).context("no such method")?;
        // Boxed: these samples need none of their own, which the compiler cannot know.
        let sample = Box::pin(self.sample(method)).await?;
        let answer = self.ask(method, &sample.encode_to_vec()).await?;
        anyhow::ensure!(answer.code == 0, "a sample of {name} was refused: {answer:?}");
        method.read(answer.reply)
    }

    async fn execution(&self) -> anyhow::Result<Value> {
        Ok(self.made_by("ExecuteToolCall").await?["execution"]["executionId"].take())
    }

    async fn approval(&self) -> anyhow::Result<Value> {
        Ok(self.made_by("CreateApproval").await?["approval"].take())
    }
}

impl Method {
    /// An encoded answer as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(&self, reply: Bytes) -> anyhow::Result<Value> {
        let message = DynamicMessage::decode(self.output.clone(), reply)?;
        Ok(serde_json::to_value(&message)?)
    }
}

/// Sets what follows from other fields: a plan's digest.
pub fn settle(message: &mut DynamicMessage) {
    let plan = message.get_field_by_name("plan_json").and_then(|plan| plan.as_str().map(str::to_owned));
    if let Some(plan) = plan {
        message.set_field_by_name("plan_digest", Field::String(sha256_hex(plan)));
    }
}

fn context() -> Value {
    json!({"sessionId": "s-1", "runId": "r-1", "step": 1, "sensitivity": ["SENSITIVITY_FINANCIAL"]})
}

fn write() -> Value {
    let arguments = json!({"path": format!("sample-{}.txt", Uuid::now_v7()), "content": "a\n"});
    json!({"tool": "fs.write", "argumentsJson": arguments.to_string()})
}

fn principal(tenant: &str) -> Value {
    json!({"tenant": tenant, "kind": "PRINCIPAL_KIND_AGENT", "name": "agent", "owner": "operator"})
}

fn question(tenant: &str) -> Value {
    let plan = json!({"arguments": {}, "note": Uuid::now_v7(), "tool": "fs.delete"}).to_string();
    let digest = sha256_hex(&plan);
    json!({
        "requestId": Uuid::now_v7(), "onBehalfOf": principal(tenant), "planJson": plan, "planDigest": digest,
        "requirements": [{"role": "approver", "count": 1}, {"role": "dba", "count": 2}],
        "expiresIn": "3600s", "sessionId": "s-1",
    })
}

fn event(tenant: &str) -> Value {
    json!({
        "eventId": Uuid::now_v7(), "time": "2026-05-09T12:00:00Z", "kind": "sample.sent",
        "principal": principal(tenant), "sessionId": "s-1", "runId": "r-1", "step": 1, "tool": "fs.write",
        "outcome": "succeeded", "traceId": "0af7651916cd43dd8448eb211c80319c", "requestId": "q-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "subjectId": "x-1", "attributesJson": "{\"path\":\"a.txt\"}",
    })
}

fn query() -> Value {
    json!({
        "pageSize": 10, "startTime": "2026-05-09T00:00:00Z", "endTime": "2026-05-10T00:00:00Z",
        "kind": "sample.", "principalName": "agent", "sessionId": "s-1", "tool": "fs.write",
        "outcome": "succeeded", "traceId": "0af7651916cd43dd8448eb211c80319c", "subjectId": "x-1",
    })
}

fn generate() -> Value {
    json!({
        "requestId": Uuid::now_v7(), "route": "default", "system": "Be brief.",
        "messages": [
            {"role": "ROLE_USER", "content": [{"text": "What is in a.txt?"}]},
            {"role": "ROLE_ASSISTANT", "content": [
                {"text": "I look."},
                {"toolUse": {"toolUseId": "t-1", "name": "fs.read", "inputJson": "{\"path\":\"a.txt\"}"}},
            ]},
            {"role": "ROLE_USER", "content": [
                {"toolResult": {"toolUseId": "t-1", "content": "one", "isError": false}},
            ]},
        ],
        "tools": [{"name": "fs.read", "description": "Reads.", "inputSchemaJson": "{\"type\":\"object\"}"}],
        "maxOutputTokens": 100, "temperature": 0.5, "context": context(),
    })
}
