//! A plan as people decide on it: everything that the digest covers, nothing left out.

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::text::{block, harmless};

/// The digest of exactly these bytes.
pub(crate) fn digest(plan_json: &str) -> String {
    hex::encode(Sha256::digest(plan_json.as_bytes()))
}

/// The plan in full. What is not JSON is shown as the text that it is.
pub(crate) fn render(plan_json: &str) -> String {
    match serde_json::from_str(plan_json) {
        Ok(Value::Object(plan)) => render_fields(plan),
        _ => block(plan_json, "  "),
    }
}

/// Takes out of the object what is shown in a form of its own; whatever else is in it follows as JSON.
fn render_fields(mut plan: Map<String, Value>) -> String {
    let mut text = format!("{}{}{:#}\n", BOLD, harmless(&taken(&mut plan, "tool")), BOLD);
    if let Some(arguments) = plan.remove("arguments") {
        text += &section("Arguments", &block(&pretty(&arguments), "    "));
    }
    match plan.remove("effects") {
        Some(Value::Array(effects)) if effects.is_empty() => text += &section("Effects", "    none\n"),
        Some(Value::Array(effects)) => {
            text += &section("Effects", &effects.into_iter().map(effect).collect::<String>());
        }
        Some(other) => text += &section("Effects", &block(&pretty(&other), "    ")),
        None => {}
    }
    for (key, heading) in [("reversibility", "Reversible"), ("undo_of", "Takes back")] {
        if let Some(value) = plan.remove(key) {
            text += &section(heading, &block(&plain(&value), "    "));
        }
    }
    if let Some(conditions) = plan.remove("preconditions").filter(|value| *value != Value::Array(Vec::new()))
    {
        text += &section("Only if still", &block(&pretty(&conditions), "    "));
    }
    if !plan.is_empty() {
        text += &section("Also covered by the digest", &block(&pretty(&Value::Object(plan)), "    "));
    }
    text
}

fn effect(effect: Value) -> String {
    let Value::Object(mut effect) = effect else { return block(&pretty(&effect), "    ") };
    let (kind, target) = (taken(&mut effect, "kind"), taken(&mut effect, "target"));
    let mut text = format!("    {} {}\n", harmless(&kind), harmless(&target));
    if let Some(destination) = effect.remove("destination") {
        text += &format!("      to {}\n", harmless(&plain(&destination)));
    }
    let preview = taken(&mut effect, "preview");
    for (key, name) in [("before_sha256", "before"), ("after_sha256", "after ")] {
        match effect.remove(key) {
            None | Some(Value::Null) => {}
            Some(hash) => text += &format!("      {name} sha256 {}\n", harmless(&plain(&hash))),
        }
    }
    if !effect.is_empty() {
        text += &block(&pretty(&Value::Object(effect)), "      ");
    }
    text + &diff(&preview)
}

/// A preview line by line, coloured where it is a diff.
pub(crate) fn diff(preview: &str) -> String {
    let line = |line: &str| {
        let style = match line.as_bytes().first() {
            Some(b'+') => AnsiColor::Green.on_default(),
            Some(b'-') => AnsiColor::Red.on_default(),
            Some(b'@') => AnsiColor::Cyan.on_default(),
            _ => Style::new(),
        };
        format!("      {style}{}{style:#}\n", harmless(line))
    };
    preview.split_terminator('\n').map(line).collect()
}

const BOLD: Style = Style::new().bold();

fn section(heading: &str, text: &str) -> String {
    format!("  {heading}\n{text}")
}

fn taken(object: &mut Map<String, Value>, key: &str) -> String {
    object.remove(key).map_or_else(String::new, |value| plain(&value))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| pretty(value), str::to_owned)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(plan_json: &str) -> String {
        anstream::adapter::strip_str(&render(plan_json)).to_string()
    }

    #[test]
    fn everything_in_a_plan_is_shown_known_or_not() {
        // As text, sorted as RFC 8785 does: a map of serde_json keeps an order of its own.
        let plan = r#"{"arguments":{"content":"two\n","path":"a.txt"},"effects":[{"after_sha256":"bb",
            "before_sha256":"aa","kind":"file.overwrite","preview":"-one\n+two\n","surprise":7,
            "target":"workspace/a.txt"}],"preconditions":[{"path":"a.txt","sha256":"aa"}],"principal":
            {"kind":"agent","name":"agent"},"reversibility":"reversible","session":"s","tool":"fs.write",
            "undo_of":"01a2"}"#;
        let expected = r#"fs.write
  Arguments
    {
      "content": "two\n",
      "path": "a.txt"
    }
  Effects
    file.overwrite workspace/a.txt
      before sha256 aa
      after  sha256 bb
      {
        "surprise": 7
      }
      -one
      +two
  Reversible
    reversible
  Takes back
    01a2
  Only if still
    [
      {
        "path": "a.txt",
        "sha256": "aa"
      }
    ]
  Also covered by the digest
    {
      "principal": {
        "kind": "agent",
        "name": "agent"
      },
      "session": "s"
    }
"#;
        assert_eq!(shown(plan), expected);
    }

    #[test]
    fn a_move_is_shown_with_both_its_names() {
        let plan = r#"{"effects":[{"destination":"w/b\u001b.md","kind":"file.move","preview":"","target":"w/a.md"}],
            "tool":"fs.move"}"#;
        assert_eq!(shown(plan), "fs.move\n  Effects\n    file.move w/a.md\n      to w/b<U+001B>.md\n");
    }

    #[test]
    fn a_plan_cannot_write_to_the_terminal() {
        let hostile = "+\u{1b}[1A\u{9b}2K\u{202e}";
        let plan = json!({
            "tool": hostile,
            "arguments": { hostile: hostile },
            "effects": [{
                "kind": hostile, "target": hostile, "destination": hostile, "preview": hostile, hostile: hostile,
            }],
            "reversibility": hostile,
            hostile: hostile,
        });
        for text in [render(&plan.to_string()), render(hostile)] {
            let ours = ["\u{1b}[1m", "\u{1b}[32m", "\u{1b}[0m"];
            let theirs = ours.iter().fold(text, |text, style| text.replace(style, ""));
            let raw = theirs.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(raw, None, "{theirs}");
        }
    }

    #[test]
    fn a_long_preview_is_not_cut() {
        let preview: String = (0..10_000).map(|line| format!("+{line}\n")).collect();
        let plan = json!({ "tool": "fs.write", "effects": [{ "kind": "k", "preview": preview }] });
        let text = shown(&plan.to_string());
        assert_eq!(text.lines().filter(|line| line.starts_with("      +")).count(), 10_000);
    }
}
