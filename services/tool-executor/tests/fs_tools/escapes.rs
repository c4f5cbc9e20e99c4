//! No way out of a root, and nothing in it that hangs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use bulkhead_tool_executor::fs::{Files, FsError};
use bulkhead_tool_executor::tool::ToolFaultKind;
use serde_json::json;
use uuid::Uuid;

use crate::sandbox::{Sandbox, config, fs_config, stale};

const TOOLS: [&str; 6] = ["fs.list", "fs.read", "fs.write", "fs.append", "fs.move", "fs.delete"];
/// Those that work on files only.
const ON_FILES: &[&str] = &["fs.read", "fs.write", "fs.append", "fs.move", "fs.delete"];

/// Plans with every tool and expects each to refuse with one of `kinds`, soon and without naming the host's
/// paths.
async fn refused(sandbox: &Sandbox, path: &str, tools: &[&str], kinds: &[ToolFaultKind]) {
    for tool in tools {
        let arguments = match *tool {
            "fs.write" | "fs.append" => json!({"path": path, "content": "x"}),
            "fs.move" => json!({"from": path, "to": "free.md"}),
            _ => json!({"path": path}),
        };
        let planning = sandbox.plan(tool, arguments);
        let planned = tokio::time::timeout(Duration::from_secs(20), planning).await.expect("does not hang");
        let fault = planned.expect_err(&format!("{tool} refuses {path:?}"));
        assert!(kinds.contains(&fault.kind), "{tool} {path:?}: {fault:?}");
        let host = sandbox.outside("");
        assert!(!fault.message.contains(host.to_str().expect("text")), "{}", fault.message);
    }
}

#[tokio::test]
async fn paths_that_lead_out_are_refused() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.outside("secret"), "s3cret").expect("a file outside");
    let absolute = sandbox.outside("secret");
    let paths = [
        "../secret",
        "a/../../secret",
        "a/..",
        "./../secret",
        absolute.to_str().expect("text"),
        "/etc/passwd",
        "a\0b",
        ".bulkhead",
        ".bulkhead/undo",
        "./.bulkhead/lock",
        ".BULKHEAD/lock",
    ];
    for path in paths {
        refused(&sandbox, path, &TOOLS, &[ToolFaultKind::PathNotAllowed]).await;
    }
}

#[tokio::test]
async fn symbolic_links_are_refused_wherever_they_point_and_wherever_they_stand() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.outside("secret"), "s3cret").expect("a file outside");
    sandbox.put("real/a.md", "text");
    symlink(sandbox.outside("secret"), sandbox.path("file")).expect("a link");
    symlink("real/a.md", sandbox.path("inside")).expect("a link");
    symlink(sandbox.outside(""), sandbox.path("folder")).expect("a link");
    symlink("real", sandbox.path("real/self")).expect("a link");
    symlink(".bulkhead", sandbox.path("store")).expect("a link");
    symlink("nowhere", sandbox.path("dangling")).expect("a link");
    symlink("loop", sandbox.path("loop")).expect("a link");
    let link = [ToolFaultKind::PathNotAllowed];
    for path in
        ["file", "inside", "folder", "folder/secret", "real/self/a.md", "store/lock", "dangling", "loop"]
    {
        refused(&sandbox, path, &TOOLS, &link).await;
    }
    assert_eq!(fs::read_to_string(sandbox.outside("secret")).expect("there"), "s3cret");
}

#[tokio::test]
async fn what_is_no_plain_file_is_refused_and_hangs_nobody() {
    let sandbox = Sandbox::new();
    sandbox.put("folder/a.md", "text");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, sandbox.path("pipe"), fifo, mode, 0).expect("a pipe");
    let _listener = UnixListener::bind(sandbox.path("socket")).expect("a socket");
    let kind = [ToolFaultKind::WrongFileType];
    for path in ["pipe", "socket"] {
        refused(&sandbox, path, &TOOLS, &kind).await;
        refused(&sandbox, &format!("{path}/below"), &TOOLS, &kind).await;
    }
    refused(&sandbox, "folder", ON_FILES, &kind).await;
    refused(&sandbox, "folder/a.md/below", &TOOLS, &kind).await;
    refused(&sandbox, "", ON_FILES, &kind).await;
}

#[tokio::test]
async fn a_link_that_takes_the_place_of_a_file_or_folder_after_the_plan_is_not_written_through() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.outside("elsewhere")).expect("a folder outside");
    fs::write(sandbox.outside("elsewhere/a.md"), "old").expect("a file outside");
    sandbox.put("folder/a.md", "old");
    sandbox.put("b.md", "old");
    let (file, folder) =
        (sandbox.plan_write("b.md", "new").await, sandbox.plan_write("folder/a.md", "new").await);
    let fresh = sandbox.plan_write("folder/deep/c.md", "new").await;
    fs::rename(sandbox.path("folder"), sandbox.path("moved")).expect("moved");
    symlink(sandbox.outside("elsewhere"), sandbox.path("folder")).expect("a link");
    fs::remove_file(sandbox.path("b.md")).expect("there");
    symlink(sandbox.outside("elsewhere/a.md"), sandbox.path("b.md")).expect("a link");
    for (path, plan) in [("b.md", file), ("folder/a.md", folder), ("folder/deep/c.md", fresh)] {
        stale(sandbox.apply_write(Uuid::now_v7(), path, "new", &plan).await);
    }
    assert_eq!(fs::read_to_string(sandbox.outside("elsewhere/a.md")).expect("there"), "old");
    assert!(!sandbox.outside("elsewhere/deep").exists());
}

#[tokio::test]
async fn the_reserved_folder_is_private_and_never_listed() {
    let sandbox = Sandbox::new();
    let mode = fs::metadata(sandbox.path(".bulkhead")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let planned = sandbox.plan("fs.list", json!({})).await.expect("can be planned");
    let listed = sandbox.tool("fs.list").apply(Uuid::now_v7(), &json!({}), &planned).await;
    assert_eq!(crate::sandbox::succeeded(listed).content, "w:\n(empty)\n");
}

#[test]
fn a_root_has_one_process_and_shares_nothing_with_another_root() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("inner")).expect("a folder");
    let open = |paths: &[&str]| {
        let root = |path: &&str| {
            let mut root = config(&folder.path().join(path));
            root.name = format!("root{}", path.len());
            root
        };
        Files::open(fs_config(paths.iter().map(root).collect()))
    };
    assert!(matches!(open(&["", "inner"]), Err(FsError::Nested { .. })));
    assert!(matches!(open(&["inner", ""]), Err(FsError::Nested { .. })));
    assert!(matches!(open(&["nowhere"]), Err(FsError::Root { .. })));
    let first = open(&["inner"]).expect("free");
    assert!(matches!(open(&["inner"]), Err(FsError::InUse { .. })));
    drop(first);
    open(&["inner"]).expect("free again");
    fs::remove_dir_all(folder.path().join("inner/.bulkhead")).expect("there");
    symlink(folder.path(), folder.path().join("inner/.bulkhead")).expect("a link");
    assert!(matches!(open(&["inner"]), Err(FsError::Root { .. })), "a planted link is not used as the store");
}
