//! Every point at which a process can die during a change: the real steps, stopped after the k-th, then a
//! restart and a reconciliation.

use std::fs;
use std::path::PathBuf;

use uuid::Uuid;

use super::RootConfig;
use super::act::{Halt, act};
use super::change::{Change, Source};
use super::path::RelPath;
use super::root::Root;
use super::run::{self, Ending};
use super::settle::settle;
use super::{plan, stage};
use crate::tool::{Planned, ToolFaultKind};

mod moves;

const CONTENT: &str = "new content";

/// The steps of a change. A process can die before the first, between any two, and after the last.
const STEPS: [fn(&Scene); 4] = [
    |scene| stage::prepare(scene.root(), scene.id, &scene.change, scene.source()).expect("prepared"),
    |scene| stage::publish(scene.root(), scene.id).expect("published"),
    |scene| act(scene.root(), scene.id, &scene.change).expect("acted"),
    |scene| {
        assert_ne!(
            settle(scene.root(), scene.id, &scene.change).expect("settled"),
            super::settle::Verdict::Unclear
        )
    },
];

/// How many of [`STEPS`] it takes for the change to have happened.
const ACTED: usize = 3;

struct Scene {
    folder: tempfile::TempDir,
    root: Option<Root>,
    id: Uuid,
    change: Change,
    undoes: Option<Uuid>,
}

#[derive(Debug, Clone, Copy)]
enum Case {
    Create,
    CreateWithFolders,
    Overwrite,
    OverwriteWithTheSame,
    OverwriteIrreversibly,
    Append,
    AppendIrreversibly,
    Delete,
    DeleteIrreversibly,
    UndoCreate,
    UndoOverwrite,
    UndoAppend,
    UndoDelete,
}

const CASES: [Case; 13] = [
    Case::Create,
    Case::CreateWithFolders,
    Case::Overwrite,
    Case::OverwriteWithTheSame,
    Case::OverwriteIrreversibly,
    Case::Append,
    Case::AppendIrreversibly,
    Case::Delete,
    Case::DeleteIrreversibly,
    Case::UndoCreate,
    Case::UndoOverwrite,
    Case::UndoAppend,
    Case::UndoDelete,
];

impl Scene {
    fn new(case: Case) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Root::open(config(&folder, case)).expect("opens");
        fs::create_dir(folder.path().join("a")).expect("a folder");
        fs::write(folder.path().join("a/old.md"), "old content").expect("a file");
        let (planned, undoes) = planned(&root, case);
        let change = Change::of(&planned).expect("a change");
        Self { folder, root: Some(root), id: Uuid::now_v7(), change, undoes }
    }

    fn root(&self) -> &Root {
        self.root.as_ref().expect("open")
    }

    fn source(&self) -> Source<'static> {
        match (self.undoes, self.change.after()) {
            (Some(origin), _) => Source::CopyOf(origin),
            (None, Some(after)) if after == bulkhead_canonical_json::sha256_hex("old content") => {
                Source::Bytes(b"old content")
            }
            (None, _) => self.change.source(CONTENT.as_bytes()),
        }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join(self.change.path.to_string())
    }

    fn content(&self) -> Option<String> {
        fs::read_to_string(self.target()).ok()
    }

    fn hash(&self) -> Option<String> {
        self.content().map(bulkhead_canonical_json::sha256_hex)
    }

    /// The process dies and another one starts.
    fn restart(&mut self, case: Case) {
        self.root = None;
        self.root = Some(Root::open(config(&self.folder, case)).expect("opens again"));
    }

    fn reconcile(&self) -> Ending {
        match self.undoes {
            None => run::reconcile(self.root(), self.id, &self.change),
            Some(origin) => run::reconcile_undo(self.root(), self.id, origin, &self.change),
        }
    }

    fn left_behind(&self) -> Vec<String> {
        let list = |path: &str| fs::read_dir(self.folder.path().join(path)).expect("a folder");
        let id = self.id.to_string();
        let entries =
            list(".bulkhead/tmp").chain(list(".bulkhead/undo")).map(|entry| entry.expect("an entry"));
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| *name == id)
            .collect()
    }
}

fn config(folder: &tempfile::TempDir, case: Case) -> RootConfig {
    let irreversible =
        matches!(case, Case::OverwriteIrreversibly | Case::AppendIrreversibly | Case::DeleteIrreversibly);
    RootConfig {
        name: "w".to_owned(),
        path: folder.path().to_owned(),
        undo_bytes_max: if irreversible { 1 } else { 1 << 20 },
        read_bytes_max: 1 << 20,
        write_bytes_max: 1 << 20,
        file_bytes_max: 1 << 20,
    }
}

fn planned(root: &Root, case: Case) -> (Planned, Option<Uuid>) {
    let path = |text: &str| RelPath::parse(text).expect("a path");
    let write = |text: &str, content: &str| plan::write(root, &path(text), content).expect("planned");
    let append = || plan::append(root, &path("a/old.md"), CONTENT).expect("planned");
    let undo = |done: Planned| {
        let (origin, change) = (Uuid::now_v7(), Change::of(&done).expect("a change"));
        assert_eq!(run::apply(root, origin, &change, change.source(CONTENT.as_bytes())), Ending::Done);
        (plan::undo(root, origin, &change, false).expect("planned"), Some(origin))
    };
    match case {
        Case::Create => (write("a/new.md", CONTENT), None),
        Case::CreateWithFolders => (write("a/b/c/new.md", CONTENT), None),
        Case::Overwrite | Case::OverwriteIrreversibly => (write("a/old.md", CONTENT), None),
        Case::OverwriteWithTheSame => (write("a/old.md", "old content"), None),
        Case::Append | Case::AppendIrreversibly => (append(), None),
        Case::Delete | Case::DeleteIrreversibly => {
            (plan::delete(root, &path("a/old.md")).expect("planned"), None)
        }
        Case::UndoCreate => undo(write("a/b/c/new.md", CONTENT)),
        Case::UndoOverwrite => undo(write("a/old.md", CONTENT)),
        Case::UndoAppend => undo(append()),
        Case::UndoDelete => undo(plan::delete(root, &path("a/old.md")).expect("planned")),
    }
}

#[test]
fn after_a_crash_at_any_point_the_disk_tells_whether_it_happened() {
    for case in CASES {
        for steps in 0..=STEPS.len() {
            let mut scene = Scene::new(case);
            STEPS.iter().take(steps).for_each(|step| step(&scene));
            scene.restart(case);
            let ending = scene.reconcile();
            let context = format!("{case:?} stopped after {steps} steps: {ending:?}");
            let expected = if steps >= ACTED { scene.change.after() } else { scene.change.before() };
            assert_eq!(scene.hash().as_deref(), expected, "{context}");
            if steps >= ACTED {
                assert_eq!(ending, Ending::Done, "{context}");
            } else {
                assert!(matches!(ending, Ending::Failed(_)), "{context}");
                assert_eq!(scene.left_behind(), [""; 0], "{context}");
            }
            assert_eq!(scene.reconcile(), ending, "asked again, {context}");
        }
    }
}

#[test]
fn what_was_reconciled_as_done_can_be_undone() {
    for case in CASES {
        let mut scene = Scene::new(case);
        STEPS.iter().take(ACTED).for_each(|step| step(&scene));
        scene.restart(case);
        assert_eq!(scene.reconcile(), Ending::Done, "{case:?}");
        let undo = plan::undo(scene.root(), scene.id, &scene.change, false);
        if !scene.change.keep {
            assert_eq!(undo.expect_err("irreversible").kind, ToolFaultKind::NotUndoable, "{case:?}");
            continue;
        }
        let undo = Change::of(&undo.expect("planned")).expect("a change");
        assert_eq!(run::undo(scene.root(), Uuid::now_v7(), scene.id, &undo), Ending::Done, "{case:?}");
        assert_eq!(scene.hash().as_deref(), scene.change.before(), "{case:?}");
        assert_eq!(scene.left_behind(), [""; 0], "{case:?}: a used copy goes");
        let folders = scene.folder.path().join("a/b").exists();
        assert_eq!(
            folders,
            matches!(case, Case::UndoCreate),
            "{case:?}: folders go with the file that needed them"
        );
    }
}

#[test]
fn half_prepared_work_is_no_evidence() {
    let mut scene = Scene::new(Case::Overwrite);
    fs::create_dir(scene.folder.path().join(".bulkhead/tmp").join(scene.id.to_string())).expect("a folder");
    assert!(matches!(scene.reconcile(), Ending::Failed(_)));
    assert_eq!(scene.left_behind(), [""; 0]);
    STEPS[0](&scene);
    scene.restart(Case::Overwrite);
    assert_eq!(scene.left_behind(), [""; 0], "a start clears away what was being prepared");
}

#[test]
fn what_came_out_of_an_exchange_unplanned_goes_back() {
    for case in [
        Case::Overwrite,
        Case::OverwriteWithTheSame,
        Case::UndoOverwrite,
        Case::Append,
        Case::Delete,
        Case::UndoCreate,
    ] {
        for crash in [false, true] {
            let mut scene = Scene::new(case);
            STEPS.iter().take(2).for_each(|step| step(&scene));
            fs::write(scene.target(), "theirs").expect("somebody else writes");
            STEPS[2](&scene);
            assert_ne!(scene.content().as_deref(), Some("theirs"), "the act came after the change");
            if crash {
                scene.restart(case);
            }
            assert!(matches!(scene.reconcile(), Ending::Failed(_)), "{case:?}");
            assert_eq!(scene.content().as_deref(), Some("theirs"), "{case:?}");
            assert_eq!(scene.left_behind(), [""; 0], "{case:?}");
        }
    }
}

#[test]
fn equal_content_from_somebody_else_is_not_taken_for_ours() {
    let scene = Scene::new(Case::Overwrite);
    STEPS.iter().take(2).for_each(|step| step(&scene));
    fs::remove_file(scene.target()).expect("there");
    fs::write(scene.target(), CONTENT).expect("somebody else writes the same");
    fs::hard_link(scene.target(), scene.folder.path().join("witness")).expect("a second name for their file");
    STEPS[2](&scene);
    assert!(matches!(scene.reconcile(), Ending::Failed(_)));
    fs::write(scene.folder.path().join("witness"), "theirs").expect("they go on writing");
    assert_eq!(scene.content().as_deref(), Some("theirs"), "their own file is back, not a file like it");
}

#[test]
fn a_link_or_a_folder_that_came_out_goes_back() {
    for case in [Case::Overwrite, Case::Delete] {
        let scene = Scene::new(case);
        STEPS.iter().take(2).for_each(|step| step(&scene));
        fs::remove_file(scene.target()).expect("there");
        std::os::unix::fs::symlink("/etc/passwd", scene.target()).expect("a link");
        STEPS[2](&scene);
        assert!(matches!(scene.reconcile(), Ending::Failed(_)), "{case:?}");
        assert_eq!(fs::read_link(scene.target()).expect("a link"), PathBuf::from("/etc/passwd"), "{case:?}");
    }
}

#[test]
fn two_strangers_in_a_row_make_it_unknown_and_both_are_kept() {
    for case in [Case::Overwrite, Case::Append, Case::Delete] {
        let mut scene = Scene::new(case);
        STEPS.iter().take(2).for_each(|step| step(&scene));
        fs::write(scene.target(), "theirs").expect("somebody else writes");
        STEPS[2](&scene);
        fs::write(scene.target(), "a third").expect("and again");
        scene.restart(case);
        let Ending::Unknown(fault) = scene.reconcile() else { panic!("{case:?} is not unknown") };
        assert_eq!(fault.kind, ToolFaultKind::OutcomeUnknown);
        assert!(fault.message.contains(&format!(".bulkhead/undo/{}", scene.id)), "{}", fault.message);
        let kept = scene.folder.path().join(".bulkhead/undo").join(scene.id.to_string());
        let kept =
            [stage::NEW, stage::TAKEN].map(|name| fs::read_to_string(kept.join(name)).unwrap_or_default());
        assert!(kept.contains(&"theirs".to_owned()), "{case:?} keeps {kept:?}");
        assert_eq!(scene.content().as_deref(), Some("a third"), "{case:?}");
    }
}

#[test]
fn what_is_not_settled_is_not_swept() {
    let later = bulkhead_edge::now() + jiff::SignedDuration::from_hours(24 * 365);
    for case in [Case::Create, Case::Overwrite] {
        let scene = Scene::new(case);
        STEPS.iter().take(2).for_each(|step| step(&scene));
        assert_eq!(super::sweep::sweep(scene.root(), later).expect("swept"), 0, "{case:?}");
        STEPS[2](&scene);
        STEPS[3](&scene);
        assert_eq!(super::sweep::sweep(scene.root(), later).expect("swept"), 1, "{case:?}");
        assert_eq!(scene.left_behind(), [""; 0], "{case:?}");
    }
}

#[test]
fn a_folder_that_somebody_makes_meanwhile_is_no_reason_to_fail() {
    let scene = Scene::new(Case::CreateWithFolders);
    STEPS.iter().take(2).for_each(|step| step(&scene));
    fs::create_dir(scene.folder.path().join("a/b")).expect("somebody else makes it");
    STEPS[2](&scene);
    assert_eq!(scene.reconcile(), Ending::Done);
    let undo = plan::undo(scene.root(), scene.id, &scene.change, false).expect("planned");
    let undo = Change::of(&undo).expect("a change");
    assert_eq!(run::undo(scene.root(), Uuid::now_v7(), scene.id, &undo), Ending::Done);
    assert!(scene.folder.path().join("a/b").exists(), "theirs stays");
    assert!(!scene.folder.path().join("a/b/c").exists(), "ours goes");
}

#[test]
fn nothing_that_came_into_being_is_replaced_by_a_creation() {
    for case in [Case::Create, Case::CreateWithFolders, Case::UndoDelete] {
        let scene = Scene::new(case);
        STEPS.iter().take(2).for_each(|step| step(&scene));
        fs::create_dir_all(scene.target().parent().expect("a parent")).expect("folders");
        fs::write(scene.target(), "theirs").expect("somebody else creates it");
        assert!(matches!(act(scene.root(), scene.id, &scene.change), Err(Halt::Stale(_))), "{case:?}");
        assert!(matches!(scene.reconcile(), Ending::Failed(_)), "{case:?}");
        assert_eq!(scene.content().as_deref(), Some("theirs"), "{case:?}");
    }
}

#[test]
fn an_append_is_the_old_content_and_the_new_after_it_or_nothing() {
    let scene = Scene::new(Case::Append);
    // Somebody changes the file while it is copied, and puts it back before it is exchanged.
    fs::write(scene.target(), "their content").expect("somebody else writes");
    STEPS[0](&scene);
    fs::write(scene.target(), "old content").expect("and takes it back");
    assert_ne!(
        Some(stage::prepared_sha256(scene.root(), scene.id).expect("prepared").as_str()),
        scene.change.after()
    );
    stage::clear(scene.root(), scene.id).expect("cleared");
    let wrong = run::apply(scene.root(), scene.id, &scene.change, Source::Addition(b"another addition"));
    let Ending::Failed(fault) = wrong else { panic!("{wrong:?}") };
    assert_eq!(fault.kind, ToolFaultKind::InvalidArguments);
    assert_eq!((scene.content().as_deref(), scene.left_behind()), (Some("old content"), vec![]));
    let right = run::apply(scene.root(), scene.id, &scene.change, scene.source());
    assert_eq!((right, scene.content().as_deref()), (Ending::Done, Some("old contentnew content")));
}
