//! Looking at a configuration without serving it.

use std::io::Write as _;
use std::process::ExitCode;

use bulkhead_exit::Exit;
use serde_json::json;

use crate::Mistakes;
use crate::settings::Knob;

/// Says on standard output whether a configuration can be used.
pub(super) fn report(service: &str, checked: Result<(), Mistakes>, as_json: bool) -> ExitCode {
    let (text, code) = match checked {
        Ok(()) if as_json => (json!({ "service": service, "ok": true }).to_string(), ExitCode::SUCCESS),
        Ok(()) => (format!("{service}: ok"), ExitCode::SUCCESS),
        Err(mistakes) if as_json => {
            let mistakes =
                json!({ "service": service, "ok": false, "file": mistakes.file(), "mistakes": mistakes });
            (mistakes.to_string(), Exit::Misconfigured.into())
        }
        Err(mistakes) => (format!("{service}: {mistakes}"), Exit::Misconfigured.into()),
    };
    say(&text).unwrap_or(code)
}

/// Every key with its value; what is not set and has no default is commented out.
pub(super) fn print(knobs: &[Knob]) -> ExitCode {
    let line = |Knob { path, value, .. }: &Knob| match value {
        Some(value) => format!("{path} = {value}"),
        None => format!("# {path} is not set"),
    };
    let lines: Vec<String> = knobs.iter().map(line).collect();
    say(&lines.join("\n")).unwrap_or(ExitCode::SUCCESS)
}

/// An exit code when nobody reads what was asked for.
fn say(text: &str) -> Option<ExitCode> {
    writeln!(std::io::stdout(), "{text}").is_err().then_some(ExitCode::FAILURE)
}
