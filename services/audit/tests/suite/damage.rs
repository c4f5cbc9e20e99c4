//! What the verifier finds in logs that somebody changed.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulkhead_audit::checkpoint::LogKey;
use bulkhead_audit::log::Layout;
use bulkhead_audit::verify::{
    FindingCode as Code, Senders, VerifyError, VerifyOptions, VerifyReport, verify, verify_sent_by,
};
use ed25519_dalek::SigningKey;

use crate::support::{Folder, ORIGIN, SEED, make_fifo};

const FIRST: &str = "2026-05-09";
const SECOND: &str = "2026-05-10";

/// Four lines on the first day, two on the second.
async fn log() -> Folder {
    Folder::filled(&[
        ("2026-05-09T12:00:00Z", 1..3),
        ("2026-05-09T13:00:00Z", 3..5),
        ("2026-05-10T12:00:00Z", 5..7),
    ])
    .await
}

fn check(folder: &Path, kept: Option<&Path>) -> VerifyReport {
    let key = folder.join("log.pub");
    if !fs::exists(&key).expect("looks") {
        let public = SigningKey::from_bytes(&SEED).verifying_key();
        fs::write(&key, STANDARD.encode(public.as_bytes())).expect("writes");
    }
    let options =
        VerifyOptions { checkpoint: kept.map(Path::to_owned), key: Some(key), ..VerifyOptions::default() };
    verify(folder, &options).expect("reads")
}

fn edit(folder: &Folder, day: &str, change: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<String> = folder.text(day).lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(folder.file(day), lines.join("\n") + "\n").expect("writes");
}

/// Code, file and line of each finding.
fn found(report: &VerifyReport) -> Vec<(Code, Option<&str>, Option<u64>)> {
    let findings = report.findings.iter();
    findings.map(|finding| (finding.code, finding.file.as_deref(), finding.line)).collect()
}

fn at(code: Code, line: u64) -> (Code, Option<&'static str>, Option<u64>) {
    (code, Some("2026-05-09.log"), Some(line))
}

#[tokio::test]
async fn an_untouched_log_is_verified() {
    let folder = log().await;
    let kept = folder.path().join("kept");
    fs::copy(folder.layout().checkpoint(), &kept).expect("copies");
    let report = check(folder.path(), Some(&kept));
    assert!(report.verified, "{report}");
    assert_eq!((report.tree_size, report.file_count), (6, 2));
    assert!(report.notes.is_empty(), "{report}");
    assert!(report.checkpoints.iter().all(|checkpoint| checkpoint.signature_verified && checkpoint.matches));
    assert_eq!(report.checkpoints.len(), 2);
}

#[tokio::test]
async fn the_daily_files_and_the_checkpoint_are_all_it_takes() {
    let folder = log().await;
    let copy = tempfile::tempdir().expect("a folder");
    fs::create_dir(copy.path().join("logs")).expect("a folder");
    for day in [FIRST, SECOND] {
        fs::copy(folder.file(day), copy.path().join(format!("logs/{day}.log"))).expect("copies");
    }
    fs::copy(folder.layout().checkpoint(), copy.path().join("checkpoint")).expect("copies");
    assert!(check(copy.path(), None).verified);

    // A changed byte is found then, too; only its line cannot be named.
    let changed = folder.text(FIRST).replace("notes/2.md", "notes/9.md");
    fs::write(copy.path().join("logs/2026-05-09.log"), changed).expect("writes");
    assert_eq!(found(&check(copy.path(), None)), [(Code::LinesChanged, None, None)]);
}

#[tokio::test]
async fn a_changed_byte_is_named_wherever_it_is() {
    for number in 1..=4 {
        let folder = log().await;
        edit(&folder, FIRST, |lines| {
            let line = &mut lines[number - 1];
            *line = line.replace("scribe", "scribf");
        });
        let line = u64::try_from(number).expect("fits");
        assert_eq!(found(&check(folder.path(), None)), [at(Code::LinesChanged, line)]);
    }
}

#[tokio::test]
async fn no_byte_can_change_and_no_end_can_be_cut_unnoticed() {
    let folder = log().await;
    let text = folder.text(FIRST).into_bytes();
    let file = fs::OpenOptions::new().write(true).open(folder.file(FIRST)).expect("opens");
    for (byte, at) in text.iter().zip(0..) {
        file.write_all_at(&[byte ^ 1], at).expect("writes");
        assert!(!check(folder.path(), None).verified, "byte {at}");
        file.write_all_at(&[*byte], at).expect("writes");
    }
    assert!(check(folder.path(), None).verified);
    for length in (0..u64::try_from(text.len()).expect("fits")).rev() {
        file.set_len(length).expect("cuts");
        assert!(!check(folder.path(), None).verified, "cut to {length} bytes");
    }
}

#[tokio::test]
async fn a_forged_note_of_hashes_does_not_mislead() {
    let folder = log().await;
    edit(&folder, FIRST, |lines| lines[1] = lines[1].replace("scribe", "scribf"));
    // The forger also changes the noted hash of an innocent line.
    let path = folder.layout().leaf_hashes();
    let mut hashes = fs::read(&path).expect("reads");
    hashes[0] ^= 1;
    fs::write(&path, hashes).expect("writes");
    assert_eq!(found(&check(folder.path(), None)), [(Code::LinesChanged, None, None)]);
}

#[tokio::test]
async fn dropped_and_reordered_lines_are_named() {
    let folder = log().await;
    edit(&folder, FIRST, |lines| drop(lines.remove(1)));
    let report = check(folder.path(), None);
    assert_eq!(found(&report)[0], at(Code::LineMissing, 2));
    assert!(found(&report).contains(&(Code::TailTruncated, Some("2026-05-10.log"), Some(2))), "{report}");

    let folder = log().await;
    edit(&folder, FIRST, |lines| lines.swap(2, 3));
    let report = check(folder.path(), None);
    let expected = [
        at(Code::LineMissing, 3),
        at(Code::LineMisplaced, 4),
        (Code::LineMissing, Some("2026-05-10.log"), Some(1)),
        at(Code::LinesChanged, 3),
    ];
    assert_eq!(found(&report), expected);
}

#[tokio::test]
async fn a_truncated_tail_is_found() {
    let folder = log().await;
    edit(&folder, SECOND, |lines| drop(lines.pop()));
    let end = (Code::TailTruncated, Some("2026-05-10.log"), Some(1));
    assert_eq!(found(&check(folder.path(), None)), [end]);

    // In the middle of a line.
    let folder = log().await;
    let text = folder.text(SECOND);
    fs::write(folder.file(SECOND), &text[..text.len() - 20]).expect("writes");
    let report = check(folder.path(), None);
    assert_eq!(found(&report), [end]);
    assert_eq!(report.notes[0].code, Code::TornTail);

    // A whole day.
    let folder = log().await;
    fs::remove_file(folder.file(SECOND)).expect("removes");
    assert_eq!(found(&check(folder.path(), None)), [at(Code::TailTruncated, 4)]);
}

#[tokio::test]
async fn a_rolled_back_log_agrees_with_itself_and_not_with_a_kept_checkpoint() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..5)]).await;
    let old = (folder.text(FIRST), fs::read(folder.layout().checkpoint()).expect("reads"));
    let open = folder.open().await;
    open.append(5..7).await.expect("appends");
    open.close().await;
    let kept = folder.path().join("kept");
    fs::copy(folder.layout().checkpoint(), &kept).expect("copies");

    fs::write(folder.file(FIRST), old.0).expect("writes");
    fs::write(folder.layout().checkpoint(), old.1).expect("writes");
    assert!(check(folder.path(), None).verified);
    assert_eq!(found(&check(folder.path(), Some(&kept))), [at(Code::RolledBack, 4)]);
}

#[tokio::test]
async fn a_history_rewritten_with_the_real_key_is_found_by_a_kept_checkpoint() {
    let folder = log().await;
    let forged = Folder::filled(&[("2026-05-09T12:00:00Z", 1..9)]).await;
    let report = check(forged.path(), Some(&folder.layout().checkpoint()));
    assert_eq!(found(&report), [(Code::HistoryRewritten, None, None)]);
    assert!(check(forged.path(), None).verified, "it agrees with itself");
}

#[tokio::test]
async fn an_older_kept_checkpoint_verifies_a_log_that_grew() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..4)]).await;
    let kept = folder.path().join("kept");
    fs::copy(folder.layout().checkpoint(), &kept).expect("copies");
    let open = folder.open().await;
    open.append(4..9).await.expect("appends");
    open.close().await;
    let report = check(folder.path(), Some(&kept));
    assert!(report.verified, "{report}");
    assert_eq!(report.checkpoints[1].tree_size, 3);
}

#[tokio::test]
async fn a_checkpoint_under_another_key_or_name_does_not_count() {
    let folder = log().await;
    let head = LogKey::from_seed(ORIGIN, [8; 32]);
    let text = fs::read(folder.layout().checkpoint()).expect("reads");
    let signed = bulkhead_audit::checkpoint::Checkpoint::read(&text).expect("parses").head;
    fs::write(folder.layout().checkpoint(), head.sign(signed).expect("signs")).expect("writes");
    assert_eq!(found(&check(folder.path(), None)), [(Code::SignatureInvalid, None, None)]);

    let elsewhere = folder.path().join("kept");
    let note = LogKey::from_seed("elsewhere/log", SEED).sign(signed).expect("signs");
    fs::write(&elsewhere, note).expect("writes");
    fs::write(folder.layout().checkpoint(), text).expect("writes");
    assert_eq!(found(&check(folder.path(), Some(&elsewhere))), [(Code::OriginMismatch, None, None)]);
}

#[tokio::test]
async fn a_missing_or_broken_checkpoint_is_found() {
    let folder = log().await;
    fs::write(folder.layout().checkpoint(), "nothing").expect("writes");
    assert_eq!(found(&check(folder.path(), None)), [(Code::CheckpointMalformed, None, None)]);
    fs::remove_file(folder.layout().checkpoint()).expect("removes");
    assert_eq!(found(&check(folder.path(), None)), [(Code::CheckpointMissing, None, None)]);
}

#[tokio::test]
async fn lines_that_the_service_never_writes_are_named() {
    let cases: [(&str, &str, Code); 5] = [
        (r#""sequence":2"#, r#""sequence": 2"#, Code::MalformedLine),
        (r#""kind":"tool.read""#, r#""kind":"tool.read","extra":1"#, Code::MalformedLine),
        ("2026-05-09T13:00:00Z", "2026-05-09T11:00:00Z", Code::TimeReversed),
        ("2026-05-09T13:00:00Z", "2026-05-10T13:00:00Z", Code::WrongDay),
        ("000000000003", "000000000001", Code::DuplicateEvent),
    ];
    for (from, to, code) in cases {
        let folder = log().await;
        edit(&folder, FIRST, |lines| {
            assert!(lines[2].contains(from), "{}", lines[2]);
            lines[2] = lines[2].replace(from, to);
        });
        let report = check(folder.path(), None);
        assert_eq!(found(&report)[0], at(code, 3), "{report}");
        assert!(found(&report).contains(&at(Code::LinesChanged, 3)), "{report}");
    }
}

#[tokio::test]
async fn a_file_under_the_name_of_another_day_is_found() {
    let folder = log().await;
    fs::rename(folder.file(SECOND), folder.file("2026-05-11")).expect("renames");
    let report = check(folder.path(), None);
    assert_eq!(found(&report)[0], (Code::WrongDay, Some("2026-05-11.log"), Some(1)), "{report}");
}

#[tokio::test]
async fn what_is_no_file_is_found_and_never_waited_for() {
    let folder = log().await;
    make_fifo(&folder.file("2026-05-11"));
    fs::create_dir(folder.file("2026-05-12")).expect("a folder");
    std::os::unix::fs::symlink(folder.file(FIRST), folder.file("2026-05-13")).expect("links");
    fs::remove_file(folder.layout().leaf_hashes()).expect("removes");
    make_fifo(&folder.layout().leaf_hashes());
    let report = bounded(folder.path()).expect("reads");
    assert_eq!(found(&report), [(Code::NotAFile, None, None); 3], "{report}");
    assert_eq!((report.tree_size, report.file_count), (6, 2));

    fs::remove_file(folder.layout().checkpoint()).expect("removes");
    make_fifo(&folder.layout().checkpoint());
    assert!(matches!(bounded(folder.path()), Err(VerifyError::Read(_))));
}

/// Verifies, but not for ever.
fn bounded(folder: &Path) -> Result<VerifyReport, VerifyError> {
    let (send, receive) = std::sync::mpsc::channel();
    let folder = folder.to_owned();
    std::thread::spawn(move || drop(send.send(verify(&folder, &VerifyOptions::default()))));
    receive.recv_timeout(Duration::from_secs(20)).expect("in time")
}

#[tokio::test]
async fn lines_after_the_checkpoint_are_told_and_a_missing_key_too() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..4)]).await;
    let early = fs::read(folder.layout().checkpoint()).expect("reads");
    let open = folder.open().await;
    open.append(4..6).await.expect("appends");
    open.close().await;
    fs::write(folder.layout().checkpoint(), early).expect("writes");
    let report = verify(folder.path(), &VerifyOptions::default()).expect("reads");
    let notes: Vec<_> = report.notes.iter().map(|note| note.code).collect();
    assert!(report.verified, "{report}");
    assert_eq!(notes, [Code::SignatureUnchecked, Code::UncheckedTail]);
}

#[tokio::test]
async fn events_of_an_unexpected_sender_are_found_whoever_is_expected() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..2)]).await;
    assert!(check(folder.path(), None).verified, "`tool-executor` sends `tool.read`");
    let renamed = Senders { tool_executor: "hands".into(), ..Senders::default() };
    let report = verify_sent_by(renamed, folder.path(), &VerifyOptions::default()).expect("reads");
    assert_eq!(found(&report), [at(Code::ForeignSource, 1)]);
}

#[tokio::test]
async fn the_report_is_json_with_stable_codes() {
    let folder = log().await;
    edit(&folder, FIRST, |lines| lines[1] = lines[1].replace("scribe", "scribf"));
    let report = serde_json::to_value(check(folder.path(), None)).expect("json");
    assert_eq!(report["verified"], false);
    assert_eq!(report["findings"][0]["code"], "lines_changed");
    assert_eq!(report["findings"][0]["file"], "2026-05-09.log");
    assert_eq!(report["findings"][0]["line"], 2);
    assert_eq!(report["checkpoints"][0]["kind"], "stored");
}

#[test]
fn a_folder_without_a_log_is_not_a_verified_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = verify(folder.path(), &VerifyOptions::default());
    assert!(matches!(refused, Err(VerifyError::NotALog { .. })));
}

#[tokio::test]
async fn the_folder_of_a_whole_stack_is_told_from_its_log() {
    let stack = Folder::new();
    let log = stack.path().join("audit");
    stack.try_open_at(&Layout::new(&log)).await.expect("opens").close().await;
    // With the logs of its processes, which are no days, and without.
    for logs in [false, true] {
        if logs {
            fs::create_dir(stack.layout().logs()).expect("a folder");
            fs::write(stack.layout().logs().join("approval.log"), "{}\n").expect("writes");
        }
        let refused = verify(stack.path(), &VerifyOptions::default()).expect_err("refused").to_string();
        assert!(refused.contains(&format!("did you mean {}?", log.display())), "{refused}");
    }
    assert!(check(&log, None).verified, "an empty log is a log");

    fs::write(stack.file(FIRST), "").expect("writes");
    assert_eq!(
        found(&check(stack.path(), None)),
        [(Code::CheckpointMissing, None, None)],
        "a log of its own"
    );
}
