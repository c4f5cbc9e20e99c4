//! The reference and the first configuration say what the services read, no more and no less.
#![expect(clippy::expect_used, reason = "a page that cannot be made ends the test")]

use std::fmt::Write as _;
use std::path::Path;

use bulkhead_edge::Settings;
use bulkhead_edge::settings::{Knob, Presence};

/// What the first start writes, with places for paths and addresses.
const TEMPLATE: &str = include_str!("../src/up/bulkhead.toml.template");

const INTRODUCTION: &str = "\
# Configuration

One TOML file; each service reads its own table, so a file may configure one service or all of them. `bulkhead up`
writes a first one. A key that is not listed here is a mistake, and so is a value out of its range; all mistakes of a
file are told at once, with their lines. `--check-config` (with `--json` for programs) reads the configuration and
every file that it names, and serves nothing; `--print-config` shows what every key is set to, secrets hidden. Both
are for the services' own programs and for `bulkhead serve SERVICE`. A configuration that cannot be used ends a
service with exit code 78: starting it again does not help.

Paths are relative to the working folder. A secret is never written into the file itself: `…_file` names a file that
holds it, `…_env` an environment variable; one of them, not both. Files with tokens and policies are described in
[identity.md](identity.md) and in the policy that the first start writes.

This page is made from the questions that the services ask of their tables; a test compares it with them.
";

/// Every service with the keys that it asks for.
fn services() -> [(&'static str, Vec<Knob>); 4] {
    use bulkhead_approval as approval;
    use bulkhead_audit as audit;
    use bulkhead_model_router as router;
    use bulkhead_tool_executor as executor;
    [
        (router::NAME, Settings::knobs(router::NAME, router::Config::read)),
        (executor::NAME, Settings::knobs(executor::NAME, executor::Config::read)),
        (approval::NAME, Settings::knobs(approval::NAME, approval::Config::read)),
        (audit::NAME, Settings::knobs(audit::NAME, audit::Config::read)),
    ]
}

fn rows(text: &mut String, knobs: &[(String, Knob)]) {
    text.push_str("\n| key | value | default | what for |\n|---|---|---|---|\n");
    for (key, Knob { kind, presence, meaning, .. }) in knobs {
        let default = match presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional => "none".to_owned(),
            Presence::Default(value) => format!("`{value}`"),
        };
        writeln!(text, "| `{key}` | {kind} | {default} | {meaning} |").expect("a string takes it");
    }
}

/// Keys without the service's name in front.
type Short = Vec<(String, Knob)>;

/// The keys of a service's `edge`, and the others.
fn split(service: &str, knobs: &[Knob]) -> (Short, Short) {
    let short = |knob: &Knob| {
        let key = knob.path.strip_prefix(&format!("{service}.")).expect("in the service's table");
        (key.to_owned(), knob.clone())
    };
    knobs.iter().map(short).partition(|(key, _)| key.starts_with("edge."))
}

fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let services = services();
    let (edge, _) = split(services[0].0, &services[0].1);
    text.push_str("\n## `[<service>.edge]`: how every service meets its callers\n");
    rows(&mut text, &edge);
    for (service, knobs) in &services {
        let (same, own) = split(service, knobs);
        let pages = |knobs: &[(String, Knob)]| {
            let mut text = String::new();
            rows(&mut text, knobs);
            text
        };
        assert_eq!(pages(&same), pages(&edge), "{service} has an edge of its own");
        writeln!(text, "\n## `[{service}]`").expect("a string takes it");
        rows(&mut text, &own);
    }
    text
}

#[test]
fn the_reference_lists_what_the_services_read() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let (kept, made) = (std::fs::read_to_string(&page).unwrap_or_default(), reference());
    if kept != made {
        let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("configuration.md");
        std::fs::write(&new, made).expect("written");
        panic!("docs/configuration.md is out of date; what it should say is in {}", new.display());
    }
}

#[test]
fn every_key_says_what_it_is_for() {
    for Knob { path, meaning, .. } in services().into_iter().flat_map(|(_, knobs)| knobs) {
        assert!(meaning.len() > 10 && meaning.ends_with('.'), "{path}: {meaning:?}");
    }
}

/// A line of the template: the key with its full name, and what it shows, if that is a value.
fn shown(table: &str, line: &str) -> Option<(String, Option<toml::Value>)> {
    let (key, value) = line.split_once(" = ")?;
    let plain = key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let place = value.starts_with('{') || value.starts_with("[{");
    let value = (!place).then(|| toml::from_str::<toml::Table>(line).ok()).flatten();
    let value = value.and_then(|mut table| table.remove(key));
    plain.then(|| (format!("{table}.{key}"), value))
}

#[test]
fn the_first_configuration_shows_keys_that_are_read_and_defaults_that_hold() {
    let knobs: Vec<Knob> = services().into_iter().flat_map(|(_, knobs)| knobs).collect();
    let (mut table, mut defaults) = (String::new(), 0);
    for line in TEMPLATE.lines() {
        let commented = line.starts_with("# ");
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']']).to_owned();
            continue;
        }
        let Some((path, value)) = shown(&table, line) else { continue };
        let knob = knobs.iter().find(|knob| knob.path == path);
        let knob = knob.unwrap_or_else(|| panic!("nobody reads {path}"));
        if let (true, Presence::Default(default)) = (commented, &knob.presence) {
            let default: toml::Table = toml::from_str(&format!("default = {default}")).expect("TOML");
            assert_eq!(value.as_ref(), default.get("default"), "{path}");
            defaults += 1;
        }
    }
    assert!(defaults >= 28, "only {defaults} defaults found");
}
