//! Adding to the end of a file, and taking that back.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;

use bulkhead_tool_executor::tool::{
    EffectKind, Outcome, Precondition, Reversibility, SensitivityLabel, ToolFaultKind,
};
use serde_json::json;
use uuid::Uuid;

use crate::sandbox::{Sandbox, stale, succeeded};

#[tokio::test]
async fn what_was_there_stays_and_the_text_comes_after_it_exactly() {
    let sandbox = Sandbox::new();
    for (old, addition) in [("one\n", "two\n"), ("one", " and two"), ("", "x"), ("Grüße\n", "日本\n")] {
        sandbox.put("a/b.md", old);
        sandbox.append("a/b.md", addition).await;
        assert_eq!(sandbox.get("a/b.md"), Some(format!("{old}{addition}")));
    }
}

#[tokio::test]
async fn a_plan_shows_the_added_lines_with_context_and_counts_as_an_append() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "1\n2\n3\n4\n");
    let before = sandbox.whole_tree();
    let planned =
        sandbox.plan("fs.append", json!({"path": "a.md", "content": "5\n"})).await.expect("planned");
    let [effect] = planned.effects.as_slice() else { panic!("one effect") };
    assert_eq!((effect.kind, effect.target.as_str()), (EffectKind::FileAppend, "w/a.md"));
    assert_eq!(effect.preview, "--- w/a.md\n+++ w/a.md\n@@ -2,3 +2,4 @@\n 2\n 3\n 4\n+5\n");
    let hash = bulkhead_canonical_json::sha256_hex("1\n2\n3\n4\n");
    assert_eq!(planned.preconditions, [Precondition::FileSha256 { target: "w/a.md".into(), sha256: hash }]);
    assert_eq!(effect.after_sha256, Some(bulkhead_canonical_json::sha256_hex("1\n2\n3\n4\n5\n")));
    assert_eq!(planned.reversibility, Reversibility::Reversible);
    assert_eq!(sandbox.whole_tree(), before, "planning writes nothing");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_created_and_the_fault_says_what_does() {
    let sandbox = Sandbox::new();
    for path in ["a.md", "no/folder/a.md"] {
        let refused = sandbox.plan("fs.append", json!({"path": path, "content": "x"})).await;
        let fault = refused.expect_err("refused");
        assert_eq!(fault.kind, ToolFaultKind::NotFound);
        assert!(fault.message.contains("fs.write creates one"), "{}", fault.message);
    }
}

#[tokio::test]
async fn undoing_truncates_while_nobody_has_changed_the_file_and_refuses_otherwise() {
    let sandbox = Sandbox::new();
    sandbox.put("run.sh", "one\n");
    fs::set_permissions(sandbox.path("run.sh"), fs::Permissions::from_mode(0o750)).expect("mode");
    let (before, inode) = (sandbox.tree(), fs::metadata(sandbox.path("run.sh")).expect("there").ino());
    let first = sandbox.append("run.sh", "two\n").await;
    let mode = fs::metadata(sandbox.path("run.sh")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    let second = sandbox.append("run.sh", "three\n").await;
    let fault = sandbox.plan_undo(&first, false).await.expect_err("somebody added to it since");
    assert_eq!(fault.kind, ToolFaultKind::Stale);
    sandbox.undo(&second, false).await;
    assert_eq!(sandbox.get("run.sh").as_deref(), Some("one\ntwo\n"));
    let undone = sandbox.undo(&first, false).await;
    assert_eq!(sandbox.tree(), before);
    assert_eq!(fs::metadata(sandbox.path("run.sh")).expect("there").ino(), inode);
    sandbox.undo(&undone, false).await;
    assert_eq!(sandbox.get("run.sh").as_deref(), Some("one\ntwo\n"), "and that can be undone");
}

#[tokio::test]
async fn sizes_are_bounded_as_those_of_writing_are() {
    let sandbox = Sandbox::with(|root| {
        root.write_bytes_max = 8;
        root.file_bytes_max = 20;
        root.undo_bytes_max = 10;
    });
    sandbox.put("a.md", "123456789012345");
    let plan = |content: &'static str| sandbox.plan("fs.append", json!({"path": "a.md", "content": content}));
    assert_eq!(plan("123456789").await.expect_err("too much at once").kind, ToolFaultKind::TooLarge);
    assert_eq!(plan("123456").await.expect_err("too much for a file").kind, ToolFaultKind::TooLarge);
    let planned = plan("12345").await.expect("just enough");
    assert_eq!(planned.reversibility, Reversibility::Irreversible, "its old content is too large to keep");
}

#[tokio::test]
async fn a_file_that_is_larger_than_any_preview_can_be_added_to() {
    let sandbox = Sandbox::with(|root| root.undo_bytes_max = 4 << 20);
    let old = "0123456789abcde\n".repeat(200_000);
    sandbox.put("large.log", &old);
    let done = sandbox.append("large.log", "end\n").await;
    let preview = &done.planned.effects[0].preview;
    assert!(preview.contains("@@ -199998,3 +199998,4 @@") && preview.ends_with("+end\n"), "{preview}");
    assert_eq!(sandbox.get("large.log"), Some(format!("{old}end\n")));
    sandbox.undo(&done, false).await;
    assert_eq!(sandbox.get("large.log"), Some(old));
}

#[tokio::test]
async fn an_append_to_what_changed_since_its_plan_is_stale_and_adds_nothing() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old\n");
    let arguments = json!({"path": "a.md", "content": "new\n"});
    let planned = sandbox.plan("fs.append", arguments.clone()).await.expect("planned");
    sandbox.put("a.md", "theirs\n");
    let before = sandbox.whole_tree();
    stale(sandbox.tool("fs.append").apply(Uuid::now_v7(), &arguments, &planned).await);
    assert_eq!(sandbox.whole_tree(), before);
    let labelled = json!({"path": "prod.env", "content": "TOKEN=x\n"});
    sandbox.put("prod.env", "A=1\n");
    let planned = sandbox.plan("fs.append", labelled).await.expect("planned");
    assert_eq!(planned.sensitivity, [SensitivityLabel::Credentials], "the preview shows its last lines");
}

#[tokio::test]
async fn appending_twice_under_one_id_adds_once() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old\n");
    let (id, arguments) = (Uuid::now_v7(), json!({"path": "a.md", "content": "new\n"}));
    let planned = sandbox.plan("fs.append", arguments.clone()).await.expect("planned");
    for _ in 0..2 {
        succeeded(sandbox.tool("fs.append").apply(id, &arguments, &planned).await);
    }
    assert_eq!(sandbox.get("a.md").as_deref(), Some("old\nnew\n"));
}

const CALLERS: usize = 16;
const LINES: usize = 6;

/// Adds one line, again for as long as somebody else was faster.
async fn add(sandbox: &Sandbox, line: &str) -> usize {
    for tries in 1..=10_000 {
        let arguments = json!({"path": "log.md", "content": line});
        let planned = sandbox.plan("fs.append", arguments.clone()).await.expect("can be planned");
        match sandbox.tool("fs.append").apply(Uuid::now_v7(), &arguments, &planned).await {
            Outcome::Succeeded(_) => return tries,
            Outcome::Stale(_) => {}
            other => panic!("{line}: {other:?}"),
        }
    }
    panic!("{line} was never added");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_of_many_callers_who_try_again_when_stale_are_all_there_once() {
    let sandbox = Arc::new(Sandbox::new());
    sandbox.put("log.md", "begin\n");
    let callers = (0..CALLERS).map(|caller| {
        let sandbox = Arc::clone(&sandbox);
        async move {
            let mut tries = 0;
            for line in 0..LINES {
                tries += add(&sandbox, &format!("caller {caller} line {line}\n")).await;
            }
            tries
        }
    });
    let tries = futures::future::join_all(callers).await;
    assert!(tries.into_iter().sum::<usize>() > CALLERS * LINES, "it has to be a race");
    let text = sandbox.get("log.md").expect("there");
    let wanted: BTreeSet<String> = (0..CALLERS)
        .flat_map(|caller| (0..LINES).map(move |line| format!("caller {caller} line {line}")))
        .chain(["begin".to_owned()])
        .collect();
    assert_eq!(text.lines().count(), wanted.len(), "none twice");
    assert_eq!(text.lines().map(str::to_owned).collect::<BTreeSet<_>>(), wanted);
    for caller in 0..CALLERS {
        let own: Vec<_> =
            text.lines().filter(|line| line.starts_with(&format!("caller {caller} "))).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
}
