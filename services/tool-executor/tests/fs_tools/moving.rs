//! Giving a file another name, and taking that back.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::sync::Arc;

use bulkhead_tool_executor::tool::{
    EffectKind, Outcome, Precondition, Reversibility, SensitivityLabel, ToolFaultKind as K,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sandbox::{Sandbox, stale, succeeded};

fn call(from: &str, to: &str) -> Value {
    json!({"from": from, "to": to})
}

async fn refusal(sandbox: &Sandbox, from: &str, to: &str) -> (K, String) {
    let fault = sandbox.plan("fs.move", call(from, to)).await.expect_err(&format!("{from} to {to}"));
    (fault.kind, fault.message)
}

#[tokio::test]
async fn the_very_file_gets_its_new_name_and_back_again() {
    let sandbox = Sandbox::new();
    sandbox.put("a/b.md", "text");
    let before = sandbox.tree();
    let inode = |path: &str| fs::metadata(sandbox.path(path)).expect("there").ino();
    let was = inode("a/b.md");
    for to in ["a/c.md", "c.md", "x/y/z.md"] {
        let done = sandbox.rename("a/b.md", to).await;
        assert_eq!((sandbox.get("a/b.md"), inode(to)), (None, was), "{to}");
        let undone = sandbox.undo(&done, false).await;
        assert_eq!((sandbox.tree(), inode("a/b.md")), (before.clone(), was), "{to}");
        let again = sandbox.undo(&undone, false).await;
        assert_eq!((sandbox.get("a/b.md"), inode(to)), (None, was), "{to}");
        sandbox.undo(&again, false).await;
        assert_eq!(sandbox.tree(), before, "{to}");
    }
}

#[tokio::test]
async fn a_plan_names_both_sides_and_what_must_still_be_so() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "text");
    let before = sandbox.whole_tree();
    let planned = sandbox.plan("fs.move", call("a.md", "new/b.md")).await.expect("planned");
    let hash = bulkhead_canonical_json::sha256_hex("text");
    let [effect] = planned.effects.as_slice() else { panic!("one effect") };
    assert_eq!((effect.kind, effect.target.as_str()), (EffectKind::FileMove, "w/a.md"));
    assert_eq!(effect.destination.as_deref(), Some("w/new/b.md"));
    let shown = format!(
        "new folder: w/new\nfrom: w/a.md\nto: w/new/b.md\ncontent stays as it is: 4 bytes, sha256 {hash}\n"
    );
    assert_eq!(effect.preview, shown);
    let sha256 = Precondition::FileSha256 { target: "w/a.md".into(), sha256: hash };
    assert_eq!(planned.preconditions, [sha256, Precondition::FileAbsent { target: "w/new/b.md".into() }]);
    assert_eq!(planned.reversibility, Reversibility::Reversible);
    assert_eq!(sandbox.whole_tree(), before, "planning writes nothing");
}

#[tokio::test]
async fn nothing_is_ever_replaced() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "ours");
    sandbox.put("b.md", "theirs");
    sandbox.put("folder/c.md", "theirs");
    symlink("nowhere", sandbox.path("link")).expect("a link");
    for to in ["b.md", "folder", "link", "a.md"] {
        let (kind, message) = refusal(&sandbox, "a.md", to).await;
        assert_eq!(kind, K::AlreadyExists, "{to}");
        assert!(message.contains("choose a name that is free"), "{message}");
    }
    let planned = sandbox.plan("fs.move", call("a.md", "new.md")).await.expect("planned");
    sandbox.put("new.md", "theirs");
    let touched =
        || fs::metadata(sandbox.path("a.md")).map(|meta| (meta.ctime(), meta.ctime_nsec())).expect("there");
    let before = touched();
    let fault = stale(sandbox.tool("fs.move").apply(Uuid::now_v7(), &call("a.md", "new.md"), &planned).await);
    assert!(fault.message.starts_with("w/new.md has come into being"), "{}", fault.message);
    assert_eq!(touched(), before, "a place that is seen to be taken is not tried");
    assert_eq!(
        (sandbox.get("a.md").as_deref(), sandbox.get("new.md").as_deref()),
        (Some("ours"), Some("theirs"))
    );
}

#[tokio::test]
async fn neither_side_leads_out_or_through_what_is_no_folder() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "text");
    fs::create_dir(sandbox.outside("elsewhere")).expect("a folder outside");
    symlink(sandbox.outside("elsewhere"), sandbox.path("folder")).expect("a link");
    symlink("a.md", sandbox.path("file")).expect("a link");
    for path in ["../x", "/x", "folder/x", ".bulkhead/x", ".bulkhead/undo/x", "x/../y"] {
        assert_eq!(refusal(&sandbox, "a.md", path).await.0, K::PathNotAllowed, "to {path}");
        assert_eq!(refusal(&sandbox, path, "free.md").await.0, K::PathNotAllowed, "from {path}");
    }
    assert_eq!(refusal(&sandbox, "file", "free.md").await.0, K::PathNotAllowed);
    assert_eq!(refusal(&sandbox, "a.md", "a.md/b").await.0, K::WrongFileType);
    fs::create_dir(sandbox.path("real")).expect("a folder");
    assert_eq!(refusal(&sandbox, "real", "free").await.0, K::WrongFileType, "folders stay");
    assert_eq!(refusal(&sandbox, "nothing.md", "free.md").await.0, K::NotFound);
    assert_eq!(fs::read_dir(sandbox.outside("elsewhere")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn no_name_is_given_that_says_less_of_what_is_in_the_file() {
    let sandbox = Sandbox::new();
    sandbox.put("prod.env", "TOKEN=x");
    sandbox.put("notes.md", "text");
    let (kind, message) = refusal(&sandbox, "prod.env", "notes2.md").await;
    assert_eq!(kind, K::PathNotAllowed);
    assert!(message.contains("to hold credentials"), "{message}");
    for (from, to) in [("prod.env", "old/prod.env"), ("notes.md", "my_secret.txt")] {
        let done = sandbox.rename(from, to).await;
        assert_eq!(done.planned.sensitivity, [SensitivityLabel::Credentials], "{from} to {to}");
        let undo = sandbox.plan_undo(&done, false).await.expect("planned");
        assert_eq!(undo.sensitivity, [SensitivityLabel::Credentials], "{to} back to {from}");
    }
}

#[tokio::test]
async fn no_undo_gives_what_came_later_a_name_that_says_less() {
    let sandbox = Sandbox::new();
    sandbox.put("notes.md", "text");
    let done = sandbox.rename("notes.md", "prod.env").await;
    sandbox.put("prod.env", "TOKEN=x");
    let refused = sandbox.plan_undo(&done, true).await.expect_err("it would hide what is in the file");
    assert_eq!(refused.kind, K::PathNotAllowed);
    assert!(refused.message.contains("to hold credentials"), "{}", refused.message);
    // What was there before had the other name already.
    sandbox.put("prod.env", "text");
    sandbox.plan_undo(&done, false).await.expect("planned");
}

#[tokio::test]
async fn an_undo_refuses_when_either_side_has_changed() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "text");
    let done = sandbox.rename("a.md", "b.md").await;
    sandbox.put("b.md", "changed");
    assert_eq!(sandbox.plan_undo(&done, false).await.expect_err("changed").kind, K::Stale);
    sandbox.put("a.md", "another");
    assert_eq!(sandbox.plan_undo(&done, true).await.expect_err("no way back").kind, K::NotUndoable);
    sandbox.put("b.md", "text");
    assert_eq!(sandbox.plan_undo(&done, false).await.expect_err("occupied").kind, K::Stale);
    fs::remove_file(sandbox.path("a.md")).expect("there");
    sandbox.put("b.md", "changed");
    let forced = sandbox.undo(&done, true).await;
    assert_eq!((sandbox.get("a.md").as_deref(), sandbox.get("b.md")), (Some("changed"), None));
    assert_eq!(forced.planned.effects[0].before_sha256, Some(bulkhead_canonical_json::sha256_hex("changed")));

    let done = sandbox.rename("a.md", "c.md").await;
    fs::remove_file(sandbox.path("c.md")).expect("there");
    let gone = sandbox.plan_undo(&done, false).await.expect_err("gone");
    assert_eq!(gone.kind, K::Stale);
    assert!(gone.message.contains("nothing to move back"), "{}", gone.message);
    assert_eq!(sandbox.plan_undo(&done, true).await.expect_err("gone").kind, K::NotUndoable);
}

#[tokio::test]
async fn a_change_after_the_plan_is_stale_and_nothing_moves() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "text");
    let planned = sandbox.plan("fs.move", call("a.md", "x/b.md")).await.expect("planned");
    sandbox.put("a.md", "changed");
    let before = sandbox.whole_tree();
    stale(sandbox.tool("fs.move").apply(Uuid::now_v7(), &call("a.md", "x/b.md"), &planned).await);
    assert_eq!(sandbox.whole_tree(), before);
    fs::remove_file(sandbox.path("a.md")).expect("there");
    stale(sandbox.tool("fs.move").apply(Uuid::now_v7(), &call("a.md", "x/b.md"), &planned).await);
}

#[tokio::test]
async fn moving_twice_under_one_id_moves_once() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "text");
    let (id, planned) =
        (Uuid::now_v7(), sandbox.plan("fs.move", call("a.md", "b.md")).await.expect("planned"));
    succeeded(sandbox.tool("fs.move").apply(id, &call("a.md", "b.md"), &planned).await);
    sandbox.put("a.md", "text");
    fs::remove_file(sandbox.path("b.md")).expect("there");
    succeeded(sandbox.tool("fs.move").apply(id, &call("a.md", "b.md"), &planned).await);
    assert_eq!(
        (sandbox.get("a.md").as_deref(), sandbox.get("b.md")),
        (Some("text"), None),
        "it only found out"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_movers_of_one_file_one_wins() {
    for round in 0..10 {
        let sandbox = Arc::new(Sandbox::new());
        sandbox.put("token", "unique");
        let mut plans = Vec::new();
        for mover in 0..8 {
            let arguments = call("token", &format!("{mover}/token"));
            plans.push((sandbox.plan("fs.move", arguments.clone()).await.expect("planned"), arguments));
        }
        let moving = plans.into_iter().map(|(planned, arguments)| {
            let sandbox = Arc::clone(&sandbox);
            async move { sandbox.tool("fs.move").apply(Uuid::now_v7(), &arguments, &planned).await }
        });
        let outcomes = futures::future::join_all(moving).await;
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Succeeded(_))).count();
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Stale(_))).count();
        assert_eq!((won, lost), (1, 7), "round {round}: {outcomes:?}");
        let found = (0..8).filter(|mover| sandbox.path(&format!("{mover}/token")).exists()).count();
        assert_eq!((found, sandbox.path("token").exists()), (1, false), "round {round}");
    }
}
