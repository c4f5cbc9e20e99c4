//! Every point at which a process can die during a move, with strangers at either name meanwhile.

use super::{Case, config};
use crate::fs::act;
use crate::fs::carry;
use crate::fs::change::{Change, Kind, Source};
use crate::fs::path::RelPath;
use crate::fs::root::Root;
use crate::fs::run::{self, Ending};
use crate::fs::settle::{self, Verdict};
use crate::fs::{plan, stage};
use cap_std::fs::Dir;
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

const OURS: &str = "ours";
const THEIRS: &str = "theirs";
const DESTINATIONS: [&str; 2] = ["a/new.md", "b/c/new.md"];

/// The steps of a move.
const THERE: [fn(&Moving); 7] = [
    |moving| stage::prepare(moving.root(), moving.id, &moving.change, Source::Bytes(b"")).expect("prepared"),
    |moving| stage::publish(moving.root(), moving.id).expect("published"),
    |moving| act::take(moving.root(), &moving.stage(), &moving.change.path).expect("taken"),
    |moving| stage::record_checked(&moving.stage()).expect("recorded"),
    |moving| carry::lay(&moving.stage(), &moving.to()).expect("laid"),
    |moving| act::create(moving.root(), &moving.stage(), &moving.to()).expect("delivered"),
    |moving| {
        assert_eq!(settle::settle(moving.root(), moving.id, &moving.change).expect("settled"), Verdict::Done)
    },
];
/// The steps of the way back, once the file has been laid ready.
const BACK: [fn(&Moving); 3] = [
    |moving| carry::withdraw(&moving.stage(), &moving.to()).expect("withdrawn"),
    |moving| carry::forget_check(&moving.stage()).expect("forgotten"),
    |moving| {
        let back = settle::give_back(moving.root(), &moving.stage(), &moving.change.path);
        assert_eq!(back.expect("given back"), Verdict::NotDone);
    },
];
/// How many of [`THERE`] it takes to have the file in hand, and to have moved it.
const TAKEN: usize = 3;
const MOVED: usize = 6;

struct Moving {
    folder: tempfile::TempDir,
    root: Option<Root>,
    id: Uuid,
    change: Change,
}

impl Moving {
    fn new(to: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Root::open(config(&folder, Case::Create)).expect("opens");
        fs::create_dir(folder.path().join("a")).expect("a folder");
        fs::write(folder.path().join("a/old.md"), OURS).expect("a file");
        let path = |text: &str| RelPath::parse(text).expect("a path");
        let planned = plan::moves::there(&root, &path("a/old.md"), &path(to)).expect("planned");
        let change = Change::of(&planned).expect("a change");
        Self { folder, root: Some(root), id: Uuid::now_v7(), change }
    }

    fn died_after(to: &str, steps: usize) -> Self {
        let mut moving = Self::new(to);
        THERE.iter().take(steps).for_each(|step| step(&moving));
        moving.restart();
        moving
    }

    fn restart(&mut self) {
        self.root = None;
        self.root = Some(Root::open(config(&self.folder, Case::Create)).expect("opens again"));
    }

    fn root(&self) -> &Root {
        self.root.as_ref().expect("open")
    }

    fn stage(&self) -> Dir {
        stage::open(self.root(), self.id).expect("opens").expect("published")
    }

    fn to(&self) -> RelPath {
        match &self.change.kind {
            Kind::Move { to, .. } => to.clone(),
            other => panic!("no move: {other:?}"),
        }
    }

    fn names(&self) -> [PathBuf; 2] {
        [self.folder.path().join("a/old.md"), self.folder.path().join(self.to().to_string())]
    }

    /// What is at the old name, and at the new.
    fn found(&self) -> [Option<String>; 2] {
        self.names().map(|name| fs::read_to_string(name).ok())
    }

    fn reconcile(&self) -> Ending {
        run::reconcile(self.root(), self.id, &self.change)
    }

    fn kept(&self) -> PathBuf {
        self.folder.path().join(".bulkhead/undo").join(self.id.to_string())
    }
}

fn put(name: &Path) {
    fs::create_dir_all(name.parent().expect("a parent")).expect("folders");
    fs::write(name, THEIRS).expect("somebody else writes");
}

fn some(texts: [&str; 2]) -> [Option<String>; 2] {
    texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

#[test]
fn after_a_crash_at_any_point_the_disk_tells_whether_it_was_moved() {
    for to in DESTINATIONS {
        for steps in 0..=THERE.len() {
            let moving = Moving::died_after(to, steps);
            let ending = moving.reconcile();
            let context = format!("{to} stopped after {steps} steps: {ending:?}");
            if steps >= MOVED {
                assert_eq!((&ending, moving.found()), (&Ending::Done, some(["", OURS])), "{context}");
            } else {
                assert!(matches!(ending, Ending::Failed(_)), "{context}");
                assert_eq!((moving.found(), moving.kept().exists()), (some([OURS, ""]), false), "{context}");
            }
            assert_eq!(moving.reconcile(), ending, "asked again, {context}");
        }
    }
}

#[test]
fn a_crash_on_the_way_back_tells_that_it_was_not_moved() {
    for to in DESTINATIONS {
        for steps in 0..=BACK.len() {
            let mut moving = Moving::died_after(to, MOVED - 1);
            BACK.iter().take(steps).for_each(|step| step(&moving));
            moving.restart();
            let ending = moving.reconcile();
            assert!(matches!(ending, Ending::Failed(_)), "{to} after {steps} steps back: {ending:?}");
            assert_eq!((moving.found(), moving.kept().exists()), (some([OURS, ""]), false), "{to}, {steps}");
        }
    }
}

#[test]
fn strangers_at_either_name_do_not_hide_whether_it_was_moved() {
    for to in DESTINATIONS {
        for steps in 0..=THERE.len() {
            let in_hand = (TAKEN..MOVED).contains(&steps);
            for (at_old, at_new) in [(true, false), (false, true), (true, true)] {
                let moving = Moving::died_after(to, steps);
                let [old, new] = moving.names();
                // Where the file still stands, or stands by now, they move it away and leave another.
                if at_old {
                    put(&old);
                }
                if at_new {
                    put(&new);
                }
                let ending = moving.reconcile();
                let context = format!("{to} after {steps} steps, {at_old} {at_new}: {ending:?}");
                let theirs = |there: bool, otherwise| if there { THEIRS } else { otherwise };
                if in_hand && at_old && at_new {
                    assert!(matches!(ending, Ending::Unknown(_)), "{context}");
                    assert_eq!(moving.found(), some([THEIRS, THEIRS]), "{context}");
                    fs::remove_file(&old).expect("they leave");
                    assert!(matches!(moving.reconcile(), Ending::Failed(_)), "{context}");
                    assert_eq!(moving.found(), some([OURS, THEIRS]), "it was kept, {context}");
                } else if steps >= MOVED || (in_hand && at_old) {
                    assert_eq!(ending, Ending::Done, "{context}");
                    assert_eq!(moving.found(), some([theirs(at_old, ""), theirs(at_new, OURS)]), "{context}");
                } else {
                    assert!(matches!(ending, Ending::Failed(_)), "{context}");
                    assert_eq!(moving.found(), some([theirs(at_old, OURS), theirs(at_new, "")]), "{context}");
                }
            }
        }
    }
}

#[test]
fn another_file_that_was_taken_goes_back_and_is_never_seen_at_the_new_name() {
    for to in DESTINATIONS {
        for crash in [false, true] {
            let mut moving = Moving::new(to);
            THERE.iter().take(2).for_each(|step| step(&moving));
            put(&moving.names()[0]);
            let acted = act::act(moving.root(), moving.id, &moving.change);
            assert!(matches!(acted, Err(act::Halt::Stale(_))), "{acted:?}");
            assert_eq!(moving.found(), some(["", ""]), "it is in hand");
            if crash {
                moving.restart();
            }
            assert!(matches!(moving.reconcile(), Ending::Failed(_)), "{to}");
            assert_eq!((moving.found(), moving.kept().exists()), (some([THEIRS, ""]), false), "{to}");
        }
    }
}

#[test]
fn a_move_that_was_reconciled_is_undone_and_what_it_made_goes() {
    let moving = Moving::died_after("b/c/new.md", MOVED);
    assert_eq!(moving.reconcile(), Ending::Done);
    let undo = plan::undo(moving.root(), moving.id, &moving.change, false).expect("planned");
    let undo = Change::of(&undo).expect("a change");
    assert_eq!(run::undo(moving.root(), Uuid::now_v7(), moving.id, &undo), Ending::Done);
    assert_eq!(moving.found(), some([OURS, ""]));
    assert!(!moving.folder.path().join("b").exists() && !moving.kept().exists());
}

#[test]
fn a_place_that_is_taken_at_the_last_moment_sends_the_file_back() {
    let moving = Moving::new("a/new.md");
    THERE.iter().take(2).for_each(|step| step(&moving));
    put(&moving.names()[1]);
    let acted = act::act(moving.root(), moving.id, &moving.change);
    assert!(matches!(acted, Err(act::Halt::Elsewhere(_))), "{acted:?}");
    assert!(matches!(moving.reconcile(), Ending::Failed(_)));
    assert_eq!(moving.found(), some([OURS, THEIRS]));
}

#[test]
fn what_is_in_hand_is_not_swept() {
    let later = bulkhead_edge::now() + jiff::SignedDuration::from_hours(24 * 365);
    for (steps, swept) in [(2, 0), (TAKEN, 0), (MOVED - 1, 0), (THERE.len(), 1)] {
        let moving = Moving::died_after("b/c/new.md", steps);
        assert_eq!(crate::fs::sweep::sweep(moving.root(), later).expect("swept"), swept, "{steps}");
    }
}
