//! Creating, overwriting, deleting, and taking each back.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use bulkhead_tool_executor::tool::{
    EffectKind, Outcome, Precondition, Reversibility, SensitivityLabel, ToolFaultKind,
};
use jiff::SignedDuration;
use serde_json::json;
use uuid::Uuid;

use crate::sandbox::{Sandbox, stale, succeeded};

#[tokio::test]
async fn planning_writes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old\n");
    let before = sandbox.whole_tree();
    sandbox.plan_write("a.md", "new\n").await;
    sandbox.plan_write("new/folder/b.md", "new\n").await;
    for tool in ["fs.delete", "fs.read"] {
        sandbox.plan(tool, json!({"path": "a.md"})).await.expect("can be planned");
    }
    sandbox.plan("fs.list", json!({})).await.expect("can be planned");
    assert_eq!(sandbox.whole_tree(), before);
}

#[tokio::test]
async fn a_plan_says_what_will_happen_and_what_must_still_be_so() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old\n");
    let planned = sandbox.plan_write("a.md", "new\n").await;
    let [effect] = planned.effects.as_slice() else { panic!("one effect") };
    assert_eq!((effect.kind, effect.target.as_str()), (EffectKind::FileOverwrite, "w/a.md"));
    assert_eq!(effect.preview, "--- w/a.md\n+++ w/a.md\n@@ -1 +1 @@\n-old\n+new\n");
    let hash = bulkhead_canonical_json::sha256_hex("old\n");
    assert_eq!(
        planned.preconditions,
        [Precondition::FileSha256 { target: "w/a.md".into(), sha256: hash.clone() }]
    );
    assert_eq!(effect.before_sha256, Some(hash));
    assert_eq!(planned.reversibility, Reversibility::Reversible);

    let planned = sandbox.plan_write("x/b.md", "new\n").await;
    assert_eq!(planned.effects[0].kind, EffectKind::FileCreate);
    assert_eq!(
        planned.effects[0].preview,
        "new folder: w/x\n--- /dev/null\n+++ w/x/b.md\n@@ -0,0 +1 @@\n+new\n"
    );
    assert_eq!(planned.preconditions, [Precondition::FileAbsent { target: "w/x/b.md".into() }]);
}

#[tokio::test]
async fn creating_and_its_undo_restore_the_tree_folders_included() {
    let sandbox = Sandbox::new();
    sandbox.put("notes/keep.md", "keep");
    let before = sandbox.tree();
    let created = sandbox.write("notes/2026/11/a.md", "text").await;
    assert_eq!(sandbox.get("notes/2026/11/a.md").as_deref(), Some("text"));
    sandbox.undo(&created, false).await;
    assert_eq!(sandbox.tree(), before);
}

#[tokio::test]
async fn an_undo_leaves_folders_in_which_something_else_is() {
    let sandbox = Sandbox::new();
    let created = sandbox.write("a/b/c.md", "text").await;
    sandbox.put("a/other.md", "other");
    sandbox.undo(&created, false).await;
    assert_eq!(sandbox.get("a/other.md").as_deref(), Some("other"));
    assert!(!sandbox.path("a/b").exists());
}

#[tokio::test]
async fn overwriting_keeps_the_mode_and_its_undo_brings_back_the_inode() {
    let sandbox = Sandbox::new();
    sandbox.put("run.sh", "old");
    fs::set_permissions(sandbox.path("run.sh"), fs::Permissions::from_mode(0o750)).expect("mode");
    let (before, inode) = (sandbox.tree(), fs::metadata(sandbox.path("run.sh")).expect("there").ino());
    let written = sandbox.write("run.sh", "new").await;
    let meta = fs::metadata(sandbox.path("run.sh")).expect("there");
    assert_eq!((meta.permissions().mode() & 0o777, sandbox.get("run.sh").as_deref()), (0o750, Some("new")));
    sandbox.undo(&written, false).await;
    assert_eq!(sandbox.tree(), before);
    let meta = fs::metadata(sandbox.path("run.sh")).expect("there");
    assert_eq!((meta.ino(), meta.nlink()), (inode, 1), "the file itself, and no second link to it");
}

#[tokio::test]
async fn deleting_and_its_undo_restore_the_tree() {
    let sandbox = Sandbox::new();
    sandbox.put("a/b.md", "text");
    let before = sandbox.tree();
    let deleted = sandbox.delete("a/b.md").await;
    assert_eq!(sandbox.get("a/b.md"), None);
    sandbox.undo(&deleted, false).await;
    assert_eq!(sandbox.tree(), before);
}

#[tokio::test]
async fn an_undo_brings_back_the_folder_too_if_that_went_meanwhile() {
    let sandbox = Sandbox::new();
    sandbox.put("a/b.md", "text");
    let deleted = sandbox.delete("a/b.md").await;
    fs::remove_dir(sandbox.path("a")).expect("empty");
    sandbox.undo(&deleted, false).await;
    assert_eq!(sandbox.get("a/b.md").as_deref(), Some("text"));
}

#[tokio::test]
async fn a_change_after_the_plan_ends_as_stale_and_nothing_happens() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old");
    let (overwrite, create) =
        (sandbox.plan_write("a.md", "new").await, sandbox.plan_write("b.md", "new").await);
    let arguments = json!({"path": "a.md"});
    let delete = sandbox.plan("fs.delete", arguments.clone()).await.expect("can be planned");
    sandbox.put("a.md", "theirs");
    sandbox.put("b.md", "theirs");
    let before = sandbox.whole_tree();
    let fault = stale(sandbox.apply_write(Uuid::now_v7(), "a.md", "new", &overwrite).await);
    assert_eq!(fault.kind, ToolFaultKind::Stale);
    assert!(fault.message.starts_with("w/a.md has changed since"), "{}", fault.message);
    stale(sandbox.apply_write(Uuid::now_v7(), "b.md", "new", &create).await);
    stale(sandbox.tool("fs.delete").apply(Uuid::now_v7(), &arguments, &delete).await);
    assert_eq!(sandbox.whole_tree(), before, "nothing is left behind either");
    fs::remove_file(sandbox.path("a.md")).expect("there");
    stale(sandbox.apply_write(Uuid::now_v7(), "a.md", "new", &overwrite).await);
    stale(sandbox.tool("fs.delete").apply(Uuid::now_v7(), &arguments, &delete).await);
    fs::create_dir(sandbox.path("a.md")).expect("a folder in its place");
    stale(sandbox.apply_write(Uuid::now_v7(), "a.md", "new", &overwrite).await);
}

#[tokio::test]
async fn a_change_that_is_seen_to_be_stale_does_not_move_the_file_at_all() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old");
    let planned = sandbox.plan_write("a.md", "new").await;
    sandbox.put("a.md", "theirs");
    let moved = || {
        let meta = fs::metadata(sandbox.path("a.md")).expect("there");
        (meta.ctime(), meta.ctime_nsec())
    };
    let before = moved();
    stale(sandbox.apply_write(Uuid::now_v7(), "a.md", "new", &planned).await);
    assert_eq!(moved(), before);
}

#[tokio::test]
async fn content_that_was_not_planned_is_not_written() {
    let sandbox = Sandbox::new();
    let planned = sandbox.plan_write("a.md", "planned").await;
    let outcome = sandbox.apply_write(Uuid::now_v7(), "a.md", "other", &planned).await;
    assert!(matches!(outcome, Outcome::Failed(fault) if fault.kind == ToolFaultKind::InvalidArguments));
    assert_eq!(sandbox.get("a.md"), None);
}

#[tokio::test]
async fn an_undo_refuses_a_changed_state_unless_forced_and_then_keeps_what_it_replaces() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old");
    let written = sandbox.write("a.md", "new").await;
    sandbox.put("a.md", "theirs");
    let fault = sandbox.plan_undo(&written, false).await.expect_err("changed");
    assert_eq!(fault.kind, ToolFaultKind::Stale);

    let forced = sandbox.plan_undo(&written, true).await.expect("forced");
    assert!(forced.effects[0].preview.contains("-theirs"), "{}", forced.effects[0].preview);
    let undone = sandbox.undo(&written, true).await;
    assert_eq!(sandbox.get("a.md").as_deref(), Some("old"));
    sandbox.undo(&undone, false).await;
    assert_eq!(sandbox.get("a.md").as_deref(), Some("theirs"), "an undo can be undone");
}

#[tokio::test]
async fn a_forced_undo_of_a_creation_or_a_deletion_deals_with_what_is_there() {
    let sandbox = Sandbox::new();
    sandbox.put("b.md", "old");
    let (created, deleted) = (sandbox.write("a.md", "new").await, sandbox.delete("b.md").await);
    sandbox.put("a.md", "theirs");
    sandbox.put("b.md", "theirs");
    let (gone, replaced) = (sandbox.undo(&created, true).await, sandbox.undo(&deleted, true).await);
    assert_eq!((sandbox.get("a.md"), sandbox.get("b.md").as_deref()), (None, Some("old")));
    sandbox.undo(&gone, false).await;
    sandbox.undo(&replaced, false).await;
    assert_eq!(
        (sandbox.get("a.md").as_deref(), sandbox.get("b.md").as_deref()),
        (Some("theirs"), Some("theirs"))
    );
}

#[tokio::test]
async fn an_undo_goes_stale_between_its_plan_and_its_act_as_well() {
    let sandbox = Sandbox::new();
    let created = sandbox.write("a.md", "new").await;
    let planned = sandbox.plan_undo(&created, false).await.expect("unchanged");
    sandbox.put("a.md", "theirs");
    stale(sandbox.tool("fs.write").undo(Uuid::now_v7(), created.id, &created.planned, &planned).await);
    assert_eq!(sandbox.get("a.md").as_deref(), Some("theirs"));
}

#[tokio::test]
async fn what_cannot_be_undone_says_so() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old");
    let written = sandbox.write("a.md", "new").await;
    fs::remove_file(sandbox.path(".bulkhead/undo").join(written.id.to_string()).join("old")).expect("a copy");
    let fault = sandbox.plan_undo(&written, true).await.expect_err("no copy");
    assert_eq!(fault.kind, ToolFaultKind::NotUndoable);

    let created = sandbox.write("b.md", "new").await;
    fs::remove_file(sandbox.path("b.md")).expect("there");
    let fault = sandbox.plan_undo(&created, true).await.expect_err("nothing there");
    assert_eq!(fault.kind, ToolFaultKind::NotUndoable);

    let planned = sandbox.plan("fs.read", json!({"path": "a.md"})).await.expect("can be planned");
    let fault = sandbox.tool("fs.read").plan_undo(Uuid::now_v7(), &planned, false).await.expect_err("a read");
    assert_eq!(fault.kind, ToolFaultKind::NotUndoable);
}

#[tokio::test]
async fn a_tampered_undo_copy_is_not_restored() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old");
    let written = sandbox.write("a.md", "new").await;
    let copy = sandbox.path(".bulkhead/undo").join(written.id.to_string()).join("old");
    fs::write(copy, "forged").expect("a copy");
    let fault = sandbox.plan_undo(&written, false).await.expect_err("forged");
    assert_eq!(fault.kind, ToolFaultKind::NotUndoable);
}

#[tokio::test]
async fn what_is_too_large_for_the_undo_store_is_irreversible_and_leaves_no_copy() {
    let sandbox = Sandbox::with(|root| root.undo_bytes_max = 10);
    for path in ["a.md", "b.md"] {
        sandbox.put(path, "more than ten bytes");
    }
    let (written, deleted) = (sandbox.write("a.md", "new").await, sandbox.delete("b.md").await);
    for done in [written, deleted] {
        assert_eq!(done.planned.reversibility, Reversibility::Irreversible);
        let kept = sandbox.path(".bulkhead/undo").join(done.id.to_string());
        assert!(kept.exists() && !kept.join("old").exists());
        let fault = sandbox.plan_undo(&done, true).await.expect_err("no copy");
        assert_eq!(fault.kind, ToolFaultKind::NotUndoable);
    }
}

#[tokio::test]
async fn the_same_content_again_is_an_overwrite_that_can_be_undone() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "same");
    let written = sandbox.write("a.md", "same").await;
    assert_eq!(written.planned.effects[0].kind, EffectKind::FileOverwrite);
    assert_eq!(written.planned.effects[0].preview, "w/a.md: the content stays as it is\n");
    sandbox.undo(&written, false).await;
    assert_eq!(sandbox.get("a.md").as_deref(), Some("same"));
}

#[tokio::test]
async fn empty_files_are_files() {
    let sandbox = Sandbox::new();
    sandbox.put("b.md", "");
    let before = sandbox.tree();
    let (created, deleted) = (sandbox.write("a.md", "").await, sandbox.delete("b.md").await);
    assert_eq!((sandbox.get("a.md").as_deref(), sandbox.get("b.md")), (Some(""), None));
    sandbox.undo(&deleted, false).await;
    sandbox.undo(&created, false).await;
    assert_eq!(sandbox.tree(), before);
}

#[tokio::test]
async fn applying_twice_under_one_id_acts_once() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old");
    let (id, planned) = (Uuid::now_v7(), sandbox.plan_write("a.md", "new").await);
    succeeded(sandbox.apply_write(id, "a.md", "new", &planned).await);
    sandbox.put("a.md", "later");
    succeeded(sandbox.apply_write(id, "a.md", "new", &planned).await);
    assert_eq!(sandbox.get("a.md").as_deref(), Some("later"));
}

#[tokio::test]
async fn what_nobody_could_review_is_not_planned() {
    let sandbox = Sandbox::new();
    let large = "line of text\n".repeat(30_000);
    sandbox.put("large.txt", &large);
    let write = |path: &str, content: &str| json!({"path": path, "content": content});
    let too_large = [
        write("new.txt", &large),
        write("large.txt", "small"),
        write("huge.txt", &"x".repeat((1 << 20) + 1)),
    ];
    for arguments in too_large {
        let fault = sandbox.plan("fs.write", arguments).await.expect_err("too large");
        assert_eq!(fault.kind, ToolFaultKind::TooLarge, "{}", fault.message);
        assert!(fault.message.contains("plit"), "{}", fault.message);
    }
    let appended = format!("{large}one more\n");
    sandbox.plan("fs.write", write("large.txt", &appended)).await.expect("a small change of a large file");

    let deleted = sandbox.delete("large.txt").await;
    assert!(deleted.planned.effects[0].preview.contains("before: text, 390000 bytes, sha256 "));
    sandbox.undo(&deleted, false).await;
    assert_eq!(sandbox.get("large.txt").as_deref(), Some(large.as_str()));
}

#[tokio::test]
async fn binary_files_can_be_replaced_deleted_and_restored() {
    let sandbox = Sandbox::new();
    sandbox.put("a.bin", [0, 159, 146, 150]);
    let before = sandbox.tree();
    let written = sandbox.write("a.bin", "text").await;
    assert!(written.planned.effects[0].preview.contains("before: binary, 4 bytes"));
    sandbox.undo(&written, false).await;
    assert_eq!(sandbox.tree(), before);
    let deleted = sandbox.delete("a.bin").await;
    sandbox.undo(&deleted, false).await;
    assert_eq!(sandbox.tree(), before);
}

#[tokio::test]
async fn results_about_labelled_files_carry_the_label() {
    let sandbox = Sandbox::new();
    sandbox.put("prod.env", "KEY=1\n");
    let (id, planned) = (Uuid::now_v7(), sandbox.plan_write("prod.env", "KEY=2\n").await);
    assert_eq!(planned.sensitivity, [SensitivityLabel::Credentials], "the preview shows the content");
    let output = succeeded(sandbox.apply_write(id, "prod.env", "KEY=2\n", &planned).await);
    assert_eq!(output.sensitivity, [SensitivityLabel::Credentials]);
    assert!(!output.content.contains("KEY") && !output.structured.to_string().contains("KEY"));
    let undo = sandbox.tool("fs.write").plan_undo(id, &planned, false).await.expect("plans");
    assert_eq!(undo.sensitivity, [SensitivityLabel::Credentials]);
}

#[tokio::test]
async fn undo_copies_are_swept_when_their_time_is_over_and_not_before() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old");
    let written = sandbox.write("a.md", "new").await;
    let now = bulkhead_edge::now();
    assert_eq!(sandbox.files().sweep(now + SignedDuration::from_hours(29 * 24)).await.expect("swept"), 0);
    sandbox.plan_undo(&written, false).await.expect("still there");
    assert_eq!(sandbox.files().sweep(now + SignedDuration::from_hours(31 * 24)).await.expect("swept"), 1);
    let fault = sandbox.plan_undo(&written, false).await.expect_err("swept");
    assert_eq!(fault.kind, ToolFaultKind::NotUndoable);
    assert_eq!(sandbox.get("a.md").as_deref(), Some("new"));
}
