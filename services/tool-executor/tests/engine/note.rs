//! A small honest tool over real files, which can be held in the middle of its work.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bulkhead_canonical_json::sha256_hex;
use bulkhead_tool_executor::tool::{
    Effect, EffectKind, Outcome, Output, Planned, Precondition, Reversibility, Tool, ToolFault,
    ToolFaultKind, ToolSpec,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

/// What the test sees and decides.
#[derive(Clone)]
pub(crate) struct Script {
    /// True: a plan waits before it looks at anything.
    pub(crate) held_plan: Arc<watch::Sender<bool>>,
    /// Plans that are being made.
    pub(crate) planning: Arc<AtomicUsize>,
    /// True: an apply waits before it does anything.
    pub(crate) held: Arc<watch::Sender<bool>>,
    /// True: an apply waits after it did it.
    pub(crate) held_after: Arc<watch::Sender<bool>>,
    /// Applies that were begun.
    pub(crate) begun: Arc<AtomicUsize>,
    /// Stands in the schema, so that another edition is another tool.
    pub(crate) edition: Arc<AtomicUsize>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            held_plan: Arc::new(watch::Sender::new(false)),
            planning: Arc::default(),
            held: Arc::new(watch::Sender::new(false)),
            held_after: Arc::new(watch::Sender::new(false)),
            begun: Arc::default(),
            edition: Arc::default(),
        }
    }
}

/// A plan that is being made, until it is made or given up.
struct Planning(Arc<AtomicUsize>);

impl Planning {
    fn begin(script: &Script) -> Self {
        script.planning.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&script.planning))
    }
}

impl Drop for Planning {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) struct Note {
    spec: ToolSpec,
    dir: PathBuf,
    script: Script,
}

impl Note {
    pub(crate) fn new(dir: PathBuf, script: Script) -> Self {
        let input_schema = json!({
            "type": "object",
            "title": format!("Edition {}", script.edition.load(Ordering::SeqCst)),
            "properties": {
                "op": { "enum": ["read", "put", "drop", "burn"] },
                "name": { "type": "string", "pattern": "^[a-z]{1,16}$" },
                "content": { "type": "string" },
            },
            "required": ["op", "name"],
            "additionalProperties": false,
        });
        let spec = ToolSpec {
            name: "note",
            description: "Keeps notes.",
            input_schema,
            reversibility: Reversibility::Irreversible,
            returns_untrusted: false,
        };
        Self { spec, dir, script }
    }

    fn now(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(name)).ok()
    }

    fn holds(&self, precondition: &Precondition) -> bool {
        match precondition {
            Precondition::FileSha256 { target, sha256 } => {
                self.now(target).is_some_and(|content| sha256_hex(content) == *sha256)
            }
            Precondition::FileAbsent { target } => self.now(target).is_none(),
        }
    }

    fn copy(&self, execution: Uuid) -> PathBuf {
        self.dir.join(format!("{execution}.copy"))
    }

    fn put(&self, name: &str, content: Option<String>) {
        match content {
            Some(content) => fs::write(self.dir.join(name), content).expect("writes"),
            None => fs::remove_file(self.dir.join(name)).expect("removes"),
        }
    }
}

fn text<'a>(arguments: &'a Value, key: &str) -> &'a str {
    arguments[key].as_str().unwrap_or_default()
}

fn fault(kind: ToolFaultKind, message: &str) -> ToolFault {
    ToolFault { kind, message: message.to_owned(), retry_after: None }
}

fn stale() -> ToolFault {
    fault(ToolFaultKind::Stale, "The note changed. Plan again.")
}

fn done(content: &str) -> Outcome {
    Outcome::Succeeded(Output {
        content: content.to_owned(),
        structured: json!({}),
        sensitivity: Vec::new(),
        untrusted: false,
    })
}

/// The plan of going from one content to another.
fn change(name: &str, before: Option<&str>, after: Option<&str>, reversibility: Reversibility) -> Planned {
    let kind = match (before, after) {
        (None, _) => EffectKind::FileCreate,
        (Some(_), Some(_)) => EffectKind::FileOverwrite,
        (Some(_), None) => EffectKind::FileDelete,
    };
    let target = name.to_owned();
    let precondition = match before {
        Some(content) => Precondition::FileSha256 { target: target.clone(), sha256: sha256_hex(content) },
        None => Precondition::FileAbsent { target: target.clone() },
    };
    let effect = Effect {
        destination: None,
        kind,
        target,
        preview: format!("-{before:?} +{after:?}"),
        before_sha256: before.map(sha256_hex),
        after_sha256: after.map(sha256_hex),
    };
    Planned {
        effects: vec![effect],
        preconditions: vec![precondition],
        reversibility,
        sensitivity: Vec::new(),
    }
}

#[tonic::async_trait]
impl Tool for Note {
    fn describe(&self) -> &ToolSpec {
        &self.spec
    }

    fn summarise(&self, arguments: &Value) -> Value {
        json!({ "op": arguments["op"], "name": arguments["name"] })
    }

    async fn plan(&self, arguments: &Value) -> Result<Planned, ToolFault> {
        let name = text(arguments, "name");
        assert_ne!(name, "panic", "as asked for");
        let planning = Planning::begin(&self.script);
        self.script.held_plan.subscribe().wait_for(|held| !held).await.expect("the script lives");
        drop(planning);
        let before = self.now(name);
        match (text(arguments, "op"), before.as_deref()) {
            ("put", before) => {
                Ok(change(name, before, Some(text(arguments, "content")), Reversibility::Reversible))
            }
            (_, None) => Err(fault(ToolFaultKind::NotFound, "No such note. List them first.")),
            ("drop", before) => Ok(change(name, before, None, Reversibility::Reversible)),
            ("burn", before) => Ok(change(name, before, None, Reversibility::Irreversible)),
            (_, Some(content)) => {
                let mut planned = change(name, Some(content), Some(content), Reversibility::ReadOnly);
                planned.effects[0].kind = EffectKind::FileRead;
                Ok(planned)
            }
        }
    }

    async fn apply(&self, execution_id: Uuid, arguments: &Value, planned: &Planned) -> Outcome {
        self.script.begun.fetch_add(1, Ordering::SeqCst);
        self.script.held.subscribe().wait_for(|held| !held).await.expect("the script lives");
        if !planned.preconditions.iter().all(|precondition| self.holds(precondition)) {
            return Outcome::Stale(stale());
        }
        let name = text(arguments, "name");
        if text(arguments, "op") == "read" {
            return done(&self.now(name).expect("is there"));
        }
        if let Some(before) = self.now(name) {
            fs::write(self.copy(execution_id), before).expect("copies");
        }
        let after = (text(arguments, "op") == "put").then(|| text(arguments, "content").to_owned());
        self.put(name, after);
        self.script.held_after.subscribe().wait_for(|held| !held).await.expect("the script lives");
        done("Done.")
    }

    async fn plan_undo(&self, id: Uuid, planned: &Planned, force: bool) -> Result<Planned, ToolFault> {
        let effect = &planned.effects[0];
        let now = self.now(&effect.target);
        if !force && now.as_ref().map(sha256_hex) != effect.after_sha256 {
            return Err(stale());
        }
        let before = fs::read_to_string(self.copy(id)).ok();
        Ok(change(&effect.target, now.as_deref(), before.as_deref(), Reversibility::Reversible))
    }

    async fn undo(&self, undo_id: Uuid, id: Uuid, _planned: &Planned, undo_plan: &Planned) -> Outcome {
        if !undo_plan.preconditions.iter().all(|precondition| self.holds(precondition)) {
            return Outcome::Stale(stale());
        }
        let target = &undo_plan.effects[0].target;
        if let Some(before) = self.now(target) {
            fs::write(self.copy(undo_id), before).expect("copies");
        }
        self.put(target, fs::read_to_string(self.copy(id)).ok());
        done("Taken back.")
    }

    async fn reconcile(
        &self,
        _id: Uuid,
        _arguments: &Value,
        planned: &Planned,
        _undoes: Option<Uuid>,
    ) -> Outcome {
        let effect = &planned.effects[0];
        let now = self.now(&effect.target).map(sha256_hex);
        if now == effect.after_sha256 {
            done("It had happened.")
        } else if now == effect.before_sha256 {
            Outcome::Failed(fault(ToolFaultKind::IoError, "It was interrupted before it began. Try again."))
        } else {
            Outcome::Unknown(fault(ToolFaultKind::OutcomeUnknown, "Somebody changed it. Look at it."))
        }
    }
}
