//! A root in a temporary folder, with the tools over it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulkhead_tool_executor::fs::{Files, FsConfig, Labels, RootConfig};
use bulkhead_tool_executor::tool::{Outcome, Output, Planned, Tool, ToolFault};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    files: Option<Files>,
}

/// A change that was planned and carried out.
pub(crate) struct Done {
    pub(crate) id: Uuid,
    pub(crate) tool: &'static str,
    pub(crate) planned: Planned,
}

pub(crate) fn config(path: &Path) -> RootConfig {
    RootConfig {
        name: "w".to_owned(),
        path: path.to_owned(),
        undo_bytes_max: 1 << 20,
        read_bytes_max: 1 << 10,
        write_bytes_max: 1 << 20,
        file_bytes_max: 4 << 20,
    }
}

pub(crate) fn fs_config(roots: Vec<RootConfig>) -> FsConfig {
    FsConfig { roots, labels: Labels::built_in(), undo_retention_days: 30 }
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut RootConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("root")).expect("a root");
        let mut root = config(&folder.path().join("root"));
        change(&mut root);
        let files = Files::open(fs_config(vec![root])).expect("the root opens");
        Self { folder, files: Some(files) }
    }

    /// As after a restart of the service.
    pub(crate) fn reopen(&mut self) {
        self.files = None;
        let root = config(&self.path(""));
        self.files = Some(Files::open(fs_config(vec![root])).expect("the root opens again"));
    }

    pub(crate) fn files(&self) -> &Files {
        self.files.as_ref().expect("open")
    }

    /// On the host: below the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    /// On the host: beside the root, where no tool may get to.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, content).expect("a file");
    }

    pub(crate) fn get(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    pub(crate) fn tool(&self, name: &str) -> Arc<dyn Tool> {
        let found = self.files().tools().into_iter().find(|tool| tool.describe().name == name);
        found.expect("a tool of that name")
    }

    pub(crate) async fn plan(&self, tool: &str, arguments: Value) -> Result<Planned, ToolFault> {
        self.tool(tool).plan(&arguments).await
    }

    pub(crate) async fn plan_write(&self, path: &str, content: &str) -> Planned {
        self.plan("fs.write", json!({"path": path, "content": content})).await.expect("can be planned")
    }

    pub(crate) async fn apply_write(
        &self,
        id: Uuid,
        path: &str,
        content: &str,
        planned: &Planned,
    ) -> Outcome {
        self.tool("fs.write").apply(id, &json!({"path": path, "content": content}), planned).await
    }

    pub(crate) async fn write(&self, path: &str, content: &str) -> Done {
        let (id, planned) = (Uuid::now_v7(), self.plan_write(path, content).await);
        succeeded(self.apply_write(id, path, content, &planned).await);
        Done { id, tool: "fs.write", planned }
    }

    pub(crate) async fn delete(&self, path: &str) -> Done {
        self.done("fs.delete", json!({"path": path})).await
    }

    /// Plans and carries out a call that is known to work.
    pub(crate) async fn done(&self, tool: &'static str, arguments: Value) -> Done {
        let (id, planned) =
            (Uuid::now_v7(), self.plan(tool, arguments.clone()).await.expect("can be planned"));
        succeeded(self.tool(tool).apply(id, &arguments, &planned).await);
        Done { id, tool, planned }
    }

    pub(crate) async fn append(&self, path: &str, content: &str) -> Done {
        self.done("fs.append", json!({"path": path, "content": content})).await
    }

    pub(crate) async fn rename(&self, from: &str, to: &str) -> Done {
        self.done("fs.move", json!({"from": from, "to": to})).await
    }

    pub(crate) async fn plan_undo(&self, done: &Done, force: bool) -> Result<Planned, ToolFault> {
        self.tool(done.tool).plan_undo(done.id, &done.planned, force).await
    }

    pub(crate) async fn undo(&self, done: &Done, force: bool) -> Done {
        let planned = self.plan_undo(done, force).await.expect("the undo can be planned");
        let id = Uuid::now_v7();
        succeeded(self.tool(done.tool).undo(id, done.id, &done.planned, &planned).await);
        Done { id, tool: done.tool, planned }
    }

    /// Everything below the root that is not Bulkhead's own: names, types, modes, content.
    pub(crate) fn tree(&self) -> String {
        tree(&self.path(""), &|path: &Path| !path.ends_with(".bulkhead"))
    }

    /// The same with the reserved folder.
    pub(crate) fn whole_tree(&self) -> String {
        tree(&self.path(""), &|_| true)
    }
}

fn tree(top: &Path, wanted: &dyn Fn(&Path) -> bool) -> String {
    let mut lines = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if !wanted(&path) {
                continue;
            }
            let meta = path.symlink_metadata().expect("metadata");
            let content = if meta.is_file() { fs::read(&path).expect("content") } else { Vec::new() };
            let mode = meta.permissions().mode();
            lines.push(format!("{} {mode:o} {}\n", path.display(), hex::encode(Sha256::digest(content))));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    lines.sort();
    lines.concat()
}

pub(crate) fn succeeded(outcome: Outcome) -> Output {
    match outcome {
        Outcome::Succeeded(output) => output,
        other => panic!("did not succeed: {other:?}"),
    }
}

pub(crate) fn stale(outcome: Outcome) -> ToolFault {
    match outcome {
        Outcome::Stale(fault) => fault,
        other => panic!("is not stale: {other:?}"),
    }
}
