//! What a process that panics leaves behind.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_panic_is_a_line_of_its_call_and_no_line_before_it_is_lost() {
    // cargo builds the examples of a package with its tests, into a folder beside theirs.
    let test = std::env::current_exe().expect("a path");
    let target = test.ancestors().nth(2).expect("a target folder");
    let ended = Command::new(target.join("examples/panics")).output().expect("runs");
    assert_eq!(ended.status.code(), Some(101));
    let text = String::from_utf8(ended.stderr).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [before, panicked] = &lines[..] else { panic!("not two lines: {text}") };
    assert_eq!((&before["message"], &before["level"]), (&"just before".into(), &"INFO".into()));
    assert_eq!((&panicked["message"], &panicked["level"]), (&"panicked".into(), &"ERROR".into()));
    assert_eq!(panicked["payload"], "deliberate");
    assert_eq!(panicked["request_id"], "r-1");
    assert!(panicked["location"].as_str().expect("a place").contains("panics.rs:"));
}
