//! Whatever is wrong is told, all of it, where it stands.

use std::time::Duration;

use super::*;

/// What a reader finds in `text`, as people see it, without the name of the file.
fn told<T>(text: &str, read: impl FnOnce(&mut Table<'_>) -> Option<T>) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    std::fs::write(&path, text).expect("written");
    let settings = match Settings::load(&path, "audit") {
        Ok(settings) => settings.read(read),
        Err(mistakes) => Err(mistakes),
    };
    let Err(mistakes) = settings else { return Vec::new() };
    let name = format!("  {}:", path.display());
    mistakes.to_string().lines().skip(1).map(|line| line.replace(&name, "").trim_start().to_owned()).collect()
}

/// One key of each kind.
fn sample(table: &mut Table<'_>) -> Option<(String, Duration)> {
    let name = table.required::<String>("name", "");
    table.optional::<Secret>("password", "");
    table.or("reflection", true, "");
    table.number("count", 1..=5, 2_u32, "");
    table.optional_number("width", 1..=5, "").unwrap_or(0_u32);
    let timeout = table.milliseconds("timeout_ms_max", 1..=10, 5, "");
    table.choice("colour", [("red", 1), ("green", 2)], "");
    table.optional::<Vec<String>>("names", "");
    table.optional::<std::net::SocketAddr>("listen", "");
    table.optional_table("inner", |table| table.required::<u64>("size_bytes", ""));
    table.tables("item", |table| table.required::<std::path::PathBuf>("path", ""));
    Some((name?, timeout))
}

#[test]
fn every_mistake_is_told_with_its_line_and_what_would_be_right() {
    let text = r#"
password = 4711
[aduit]
[audit]
password = 4711
reflection = "yes"
count = 6
width = 0
timeout_ms_max = -1
colour = "grene"
names = ["a", 2]
listen = "here"
nmae = "x"
inner = { size_byte = 1 }
[[audit.item]]
name = "first"
[[audit.item]]
path = ""
[other]
"#;
    let expected = [
        "2: password: is not known here; there are model-router, tool-executor, approval, audit",
        "3: aduit: is not known here; did you mean audit?",
        "4: audit.name: is missing; it must be text",
        "5: audit.password: must be text, not a whole number",
        "6: audit.reflection: must be true or false, not text",
        "7: audit.count: 6 must be 1 to 5",
        "8: audit.width: 0 must be 1 to 5",
        "9: audit.timeout_ms_max: -1 must be 1 to 10 milliseconds",
        "10: audit.colour: must be one of red, green; did you mean green?",
        "11: audit.names: item 2 must be text, not a whole number",
        "12: audit.listen: must be an address with a port, such as 127.0.0.1:7104",
        "13: audit.nmae: is not known here; did you mean name?",
        "14: audit.inner.size_byte: is not known here; did you mean size_bytes?",
        "14: audit.inner.size_bytes: is missing; it must be a whole number",
        "15: audit.item.first.path: is missing; it must be a path",
        "16: audit.item.first.name: is not known here; there are path",
        "18: audit.item.2.path: must be a path, not empty",
        "19: other: is not known here; there are model-router, tool-executor, approval, audit",
    ];
    assert_eq!(told(text, sample), expected);
}

#[test]
fn what_is_no_toml_is_located_and_not_repeated() {
    let text = "[audit]\nname = \"a\"\nname = \"hunter2\"\npassword = \"hunter2\" oops\nx = [1, hunter2\n";
    let told = told(text, sample);
    assert!(told.iter().any(|mistake| mistake.starts_with("3: ")), "the key that is there twice: {told:?}");
    assert!(told.iter().any(|mistake| mistake.starts_with("4: ")), "the line that goes on: {told:?}");
    assert!(!told.iter().any(|mistake| mistake.contains("hunter2")), "{told:?}");
}

#[test]
fn a_table_that_is_none_is_told() {
    assert_eq!(told("", sample), ["audit: is missing; it must be a table [audit]"]);
    assert_eq!(told("audit = 3", sample), ["1: audit: must be a table"]);
    let list = "[audit]\nname = \"a\"\ncolour = \"red\"\nitem = 3\ninner = []";
    let expected =
        ["4: audit.item: must be a list of tables [[audit.item]]", "5: audit.inner: must be a table"];
    assert_eq!(told(list, sample), expected);
}

#[test]
fn what_is_no_text_is_refused_without_being_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    let load = || Settings::load(&path, "audit").expect_err("refused").to_string();
    assert!(load().contains("cannot be read: No such file"), "{}", load());
    std::fs::write(&path, b"a = \"\xff\"").expect("written");
    assert!(load().contains("is not UTF-8 (at byte 5)"), "{}", load());
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).expect("written");
    assert!(load().contains("is larger than 1048576 bytes"), "{}", load());
    std::fs::remove_file(&path).and_then(|()| std::fs::create_dir(&path)).expect("a folder");
    assert!(load().contains("cannot be read: Is a directory"), "{}", load());
}

#[test]
fn a_secret_comes_from_a_file_or_from_the_environment_and_not_from_both() {
    let read = |table: &mut Table<'_>| table.secret(["key_file", "key_env"], "");
    let cases = [
        ("key_file = \"/none/such\"", "2: audit.key_file: cannot read /none/such: No such file"),
        ("key_env = \"BULKHEAD_NO_SUCH\"", "2: audit.key_env: the variable BULKHEAD_NO_SUCH is not set"),
        ("key_file = \"/none\"\nkey_env = \"PATH\"", "3: audit.key_env: give key_file or key_env, not both"),
    ];
    for (lines, expected) in cases {
        let told = told(&format!("[audit]\n{lines}"), read);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
}

#[test]
fn a_reader_tells_its_keys_without_a_file() {
    let knobs = Settings::knobs("audit", sample);
    let find = |path: &str| knobs.iter().find(|knob| knob.path == path).expect(path).clone();
    assert_eq!(find("audit.timeout_ms_max").kind, "1 to 10 milliseconds");
    assert_eq!(find("audit.timeout_ms_max").presence, Presence::Default("5".to_owned()));
    assert_eq!(find("audit.password").presence, Presence::Optional);
    assert_eq!(find("audit.inner.size_bytes").presence, Presence::Required);
    assert_eq!(find("audit.item.path").presence, Presence::Required);
    assert_eq!(find("audit.colour").kind, "one of red, green");
}

#[test]
fn what_is_set_is_shown_and_secrets_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    let text = "[audit]\nname = \"a\"\ncolour = \"red\"\npassword = \"hunter2\"\ncount = 3";
    std::fs::write(&path, text).expect("written");
    let settings = Settings::load(&path, "audit").expect("read");
    let (value, knobs) = settings.read_with_knobs(sample).expect("right");
    assert_eq!(value, ("a".to_owned(), Duration::from_millis(5)));
    let shown = |path: &str| knobs.iter().find(|knob| knob.path == path).and_then(|knob| knob.value.clone());
    assert_eq!(shown("audit.name").as_deref(), Some("\"a\""));
    assert_eq!(shown("audit.count").as_deref(), Some("3"));
    assert_eq!(shown("audit.password").as_deref(), Some("(hidden)"));
    assert_eq!(shown("audit.listen"), None);
    assert!(!format!("{settings:?}{knobs:?}").contains("hunter2"));
}
