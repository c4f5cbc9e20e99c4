//! What the tools that change something share: carrying out a plan, taking it back, and finding out.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use crate::fs::change::{Change, Kind};
use crate::fs::fault::fault;
use crate::fs::files::{self, Files};
use crate::fs::plan;
use crate::fs::root::Root;
use crate::fs::run::{self, Ending};
use crate::tool::{Outcome, Output, Planned, SensitivityLabel, ToolFault, ToolFaultKind};

/// Does what was planned. `content` is what a write writes or an append adds.
pub(crate) async fn apply(files: &Files, id: Uuid, planned: &Planned, content: String) -> Outcome {
    change(files, planned, move |root, change| {
        run::apply(root, id, change, change.source(content.as_bytes()))
    })
    .await
}

/// Plans taking `planned` back.
pub(crate) async fn plan_undo(
    files: &Files,
    id: Uuid,
    planned: &Planned,
    force: bool,
) -> Result<Planned, ToolFault> {
    let change = Change::of(planned)?;
    let root = files.root(Some(&change.root))?;
    let sensitivity = labels(files, &change);
    let planned = files::reading(move || plan::undo(&root, id, &change, force)).await?;
    Ok(Planned { sensitivity, ..planned })
}

/// Says what the preview is known to contain: it shows the content of the file.
pub(crate) fn labelled(files: &Files, planned: Planned) -> Result<Planned, ToolFault> {
    let sensitivity = labels(files, &Change::of(&planned)?);
    Ok(Planned { sensitivity, ..planned })
}

/// What the file is known to contain, under each of its names.
fn labels(files: &Files, change: &Change) -> Vec<SensitivityLabel> {
    match &change.kind {
        Kind::Move { to, .. } => files.labels_of_both(&change.path, to),
        Kind::Create { .. } | Kind::Overwrite { .. } | Kind::Append { .. } | Kind::Delete { .. } => {
            files.labels_of(&change.path)
        }
    }
}

/// Takes `origin` back as `id`.
pub(crate) async fn undo(
    files: &Files,
    id: Uuid,
    origin: Uuid,
    planned: &Planned,
    undo_plan: &Planned,
) -> Outcome {
    match (Change::of(planned), Change::of(undo_plan)) {
        (Ok(done), Ok(undoing)) if done.arrives() == undoing.target => {
            change(files, undo_plan, move |root, change| run::undo(root, id, origin, change)).await
        }
        (Err(fault), _) | (_, Err(fault)) => Outcome::Failed(fault),
        (Ok(done), Ok(_)) => {
            let message = format!("The undo that was planned is none of {}. Plan it again.", done.arrives());
            Outcome::Failed(fault(ToolFaultKind::InvalidArguments, message))
        }
    }
}

/// Finds out what became of `id`; `planned` is the plan of `id` itself, also when it is an undo.
pub(crate) async fn reconcile(files: &Files, id: Uuid, planned: &Planned, undoes: Option<Uuid>) -> Outcome {
    change(files, planned, move |root, change| match undoes {
        None => run::reconcile(root, id, change),
        Some(origin) => run::reconcile_undo(root, id, origin, change),
    })
    .await
}

/// Runs `work` on the root of the plan, alone. It goes on to its end even if nobody waits any more.
async fn change(
    files: &Files,
    planned: &Planned,
    work: impl FnOnce(&Root, &Change) -> Ending + Send + 'static,
) -> Outcome {
    let found = Change::of(planned).and_then(|change| Ok((files.root(Some(&change.root))?, change)));
    let (root, change) = match found {
        Ok(found) => found,
        Err(fault) => return Outcome::Failed(fault),
    };
    let held = root.exclusive().await;
    let (worked_root, worked_change): (Arc<Root>, _) = (Arc::clone(&root), change.clone());
    let working = tokio::task::spawn_blocking(move || {
        let ending = work(&worked_root, &worked_change);
        drop(held);
        ending
    });
    match working.await {
        Ok(ending) => outcome(files, &change, ending),
        Err(error) => Outcome::Unknown(files::broken(&error)),
    }
}

fn outcome(files: &Files, change: &Change, ending: Ending) -> Outcome {
    match ending {
        Ending::Done => Outcome::Succeeded(output(files, change)),
        Ending::Failed(fault) => Outcome::Failed(fault),
        Ending::Stale(fault) => Outcome::Stale(fault),
        Ending::Unknown(fault) => Outcome::Unknown(fault),
    }
}

/// The labels are those of the file: its content stands in the preview that comes with the result.
fn output(files: &Files, change: &Change) -> Output {
    let mut structured = json!({
        "target": change.target,
        "before_sha256": change.before(),
        "after_sha256": change.after(),
        "undoable": change.keep,
    });
    if let Kind::Move { destination, .. } = &change.kind {
        structured["destination"] = json!(destination);
    }
    let sensitivity = labels(files, change);
    Output { content: change.done(), structured, sensitivity, untrusted: false }
}
