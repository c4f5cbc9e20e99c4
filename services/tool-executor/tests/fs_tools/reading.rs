//! Reading and listing, and what models are told when it does not work.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use bulkhead_tool_executor::fs::Files;
use bulkhead_tool_executor::tool::{
    EffectKind, Outcome, Output, Reversibility, SensitivityLabel, ToolFaultKind,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sandbox::{Sandbox, config, fs_config, stale, succeeded};

async fn call(sandbox: &Sandbox, tool: &str, arguments: Value) -> Output {
    let planned = sandbox.plan(tool, arguments.clone()).await.expect("can be planned");
    assert_eq!(planned.reversibility, Reversibility::ReadOnly);
    succeeded(sandbox.tool(tool).apply(Uuid::now_v7(), &arguments, &planned).await)
}

#[tokio::test]
async fn a_text_is_returned_as_untrusted_with_its_hash() {
    let sandbox = Sandbox::new();
    sandbox.put("notes/a.md", "Grüße\n");
    let output = call(&sandbox, "fs.read", json!({"path": "./notes/a.md", "root": "w"})).await;
    let hash = bulkhead_canonical_json::sha256_hex("Grüße\n");
    assert_eq!((output.content.as_str(), output.untrusted), ("Grüße\n", true));
    assert_eq!(output.structured, json!({"target": "w/notes/a.md", "bytes": 8, "sha256": hash}));
    assert_eq!(output.sensitivity, []);
}

#[tokio::test]
async fn a_path_rule_labels_what_is_read() {
    let sandbox = Sandbox::new();
    for path in [".env", "keys/ID_rsa", "server.PEM"] {
        sandbox.put(path, "s3cret");
        let output = call(&sandbox, "fs.read", json!({"path": path})).await;
        assert_eq!(output.sensitivity, [SensitivityLabel::Credentials], "{path}");
    }
    let output = call(&sandbox, "fs.list", json!({})).await;
    assert_eq!(output.sensitivity, [], "names alone are no secret");
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.put("binary", [0, 1, 2]);
    sandbox.put("latin1", [0xe9]);
    sandbox.put("large", "x".repeat(1_025));
    let hash = bulkhead_canonical_json::sha256_hex([0xe9]);
    let not_text = format!("w/latin1 is not text: 1 bytes, sha256 {hash}.");
    let table = [
        (
            "nothing",
            ToolFaultKind::NotFound,
            "File not found: w/nothing. Verify the path with fs.list before retrying.",
        ),
        ("no/such/folder", ToolFaultKind::NotFound, "File not found: w/no/such/folder."),
        ("binary", ToolFaultKind::NotText, "w/binary is not text: 3 bytes, sha256 "),
        ("latin1", ToolFaultKind::NotText, not_text.as_str()),
        ("large", ToolFaultKind::TooLarge, "w/large has 1025 bytes; this tool takes at most 1024."),
    ];
    for (path, kind, message) in table {
        let fault = sandbox.plan("fs.read", json!({"path": path})).await.expect_err("refused");
        assert_eq!(fault.kind, kind);
        assert!(fault.message.starts_with(message), "{}", fault.message);
    }
    let fault = sandbox.plan("fs.delete", json!({"path": "nothing"})).await.expect_err("refused");
    assert_eq!(fault.kind, ToolFaultKind::NotFound);
    let fault = sandbox.plan("fs.list", json!({"path": "nothing"})).await.expect_err("refused");
    assert_eq!(fault.kind, ToolFaultKind::NotFound);
}

#[tokio::test]
async fn what_is_returned_is_what_was_planned() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "planned");
    let arguments = json!({"path": "a.md"});
    let planned = sandbox.plan("fs.read", arguments.clone()).await.expect("can be planned");
    assert_eq!(planned.effects[0].kind, EffectKind::FileRead);
    sandbox.put("a.md", "changed");
    stale(sandbox.tool("fs.read").apply(Uuid::now_v7(), &arguments, &planned).await);
}

#[tokio::test]
async fn a_folder_is_listed_by_name_with_types_and_sizes() {
    let sandbox = Sandbox::new();
    sandbox.put("b.md", "four");
    sandbox.put("a/c.md", "");
    std::os::unix::fs::symlink("b.md", sandbox.path("link")).expect("a link");
    fs::write(sandbox.path("").join(std::ffi::OsStr::from_bytes(b"x\xff")), "").expect("a file");
    let output = call(&sandbox, "fs.list", json!({})).await;
    assert_eq!(output.content, "w:\na/\nb.md  4 bytes\nlink  (symlink)\nx\u{fffd}  (unaddressable)\n");
    assert_eq!(output.structured["entries"][1], json!({"name": "b.md", "type": "file", "size_bytes": 4}));
    assert!(output.untrusted);
    let output = call(&sandbox, "fs.list", json!({"path": "a"})).await;
    assert_eq!(output.content, "w/a:\nc.md  0 bytes\n");
}

#[tokio::test]
async fn a_long_list_is_cut_and_says_so() {
    let sandbox = Sandbox::new();
    for number in 0..1_001 {
        sandbox.put(&format!("many/{number:04}"), "");
    }
    let output = call(&sandbox, "fs.list", json!({"path": "many"})).await;
    assert_eq!(output.structured["entries"].as_array().expect("a list").len(), 1_000);
    assert_eq!(output.structured["truncated"], json!(true));
    assert!(output.content.ends_with("Only the first 1000 of 1001 entries are shown, by name.\n"));
}

#[tokio::test]
async fn with_several_roots_one_has_to_be_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let roots = ["docs", "src"].map(|name| {
        fs::create_dir(folder.path().join(name)).expect("a folder");
        let mut root = config(&folder.path().join(name));
        root.name = name.to_owned();
        root
    });
    let files = Files::open(fs_config(roots.into())).expect("opens");
    let list = files.tools().into_iter().find(|tool| tool.describe().name == "fs.list").expect("a tool");
    for arguments in [json!({}), json!({"root": "other"})] {
        let fault = list.plan(&arguments).await.expect_err("ambiguous");
        assert_eq!(fault.kind, ToolFaultKind::InvalidArguments);
        assert!(fault.message.contains("docs, src"), "{}", fault.message);
    }
    list.plan(&json!({"root": "src"})).await.expect("named");
}

#[tokio::test]
async fn every_schema_is_valid_and_closed() {
    let sandbox = Sandbox::new();
    let names: Vec<_> = sandbox.files().tools().iter().map(|tool| tool.describe().name).collect();
    assert_eq!(names, ["fs.append", "fs.delete", "fs.list", "fs.move", "fs.read", "fs.write"]);
    for tool in sandbox.files().tools() {
        let schema = &tool.describe().input_schema;
        let validator = jsonschema::validator_for(schema).expect("a valid schema");
        assert!(!validator.is_valid(&json!({"path": "a", "content": "b", "other": 1})));
        assert!(!validator.is_valid(&json!({"path": 1, "content": "b"})));
        let name = tool.describe().name;
        let (content, names) = (matches!(name, "fs.write" | "fs.append"), name == "fs.move");
        assert_eq!(validator.is_valid(&json!({"path": "a", "content": "b"})), content);
        assert_eq!(validator.is_valid(&json!({"path": "a"})), !content && !names);
        assert_eq!(validator.is_valid(&json!({"path": "a", "content": ""})), name == "fs.write");
        assert_eq!(validator.is_valid(&json!({"from": "a", "to": "b"})), names);
        assert!(!validator.is_valid(&json!({"from": "a", "to": "b", "content": "c"})), "{name}");
    }
}

#[tokio::test]
async fn an_interrupted_read_can_be_made_again() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "text");
    for tool in ["fs.read", "fs.list"] {
        let arguments = if tool == "fs.read" { json!({"path": "a.md"}) } else { json!({}) };
        let planned = sandbox.plan(tool, arguments.clone()).await.expect("can be planned");
        let outcome = sandbox.tool(tool).reconcile(Uuid::now_v7(), &arguments, &planned, None).await;
        assert!(matches!(outcome, Outcome::Failed(fault) if fault.kind.retryable()), "{tool}");
    }
}
