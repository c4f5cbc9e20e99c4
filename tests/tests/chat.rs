//! `bulkhead chat` as people and scripts run it: a real process, real services, models that fail as they are told to.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_provider_sim::{
    Action, Answered, ControlClient, Reply, RetryAfter, Script, Step, StopReason, StreamBreak, StreamFault,
};
use bulkhead_tests::command::{Ended, command, run};
use bulkhead_tests::{Options, Sandbox, eventually};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;

/// Only guards against hanging.
const BOUND: Duration = Duration::from_secs(60);

async fn sandbox() -> anyhow::Result<(Sandbox, ControlClient)> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let simulator = ControlClient::new(sandbox.simulator()?)?;
    Ok((sandbox, simulator))
}

fn pieces(chunks: &[&str]) -> Reply {
    Reply { chunks: chunks.iter().map(|chunk| (*chunk).to_owned()).collect(), ..Reply::default() }
}

/// A model that is cut after `Once upon `.
fn cut() -> Step {
    let reply = pieces(&["Once ", "upon ", "a ", "time"]);
    Action::StreamFault(StreamFault { reply, ..StreamFault::new(StreamBreak::Cut) }.after(2)).into()
}

/// Runs the command with lines to say.
fn said(sandbox: &Sandbox, arguments: &[&str], lines: &str) -> anyhow::Result<Ended> {
    let data = sandbox.data();
    let mut child = command(&data, arguments)?
        .arg("--data")
        .arg(&data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("stdin")?.write_all(lines.as_bytes())?;
    Ended::of(child.wait_with_output()?)
}

#[tokio::test]
async fn an_answer_comes_with_what_it_took() -> anyhow::Result<()> {
    let (sandbox, simulator) = sandbox().await?;
    simulator.script("sim-primary", &Script::always(pieces(&["Be", "cause."]).into())).await?;
    let ended = run(&sandbox, &["chat", "Why?"])?.exits(0)?;
    assert_eq!(ended.stdout, "Because.\n");
    let ended =
        ended.says("→ primary\n")?.says("primary · ")?.says(" tokens in, ")?.says("first token after ")?;
    assert!(!ended.stderr.contains('\u{1b}'), "colours into a pipe: {}", ended.stderr);

    let requests = said(&sandbox, &["chat", "-", "--system", "Be brief."], "two\nlines")?.exits(0)?;
    assert_eq!(requests.stdout, "Because.\n");
    let asked = simulator.requests(Some("sim-primary")).await?;
    let body = asked.requests.last().context("a request")?.body.to_string();
    assert!(body.contains("two\\nlines") && body.contains("Be brief."), "{body}");
    Ok(())
}

#[tokio::test]
async fn attempts_are_told_and_what_is_void_stands_in_no_pipe() -> anyhow::Result<()> {
    let (sandbox, simulator) = sandbox().await?;
    let limited = Step::status_after(429, RetryAfter::Seconds(1));
    simulator.script("sim-primary", &Script::once([limited, cut(), Step::status(401)])).await?;
    simulator.script("sim-fallback", &Script::always(Step::text("All of it."))).await?;
    let ended = run(&sandbox, &["chat", "Tell me a story."])?.exits(0)?;
    assert_eq!(ended.stdout, "All of it.\n");
    ended
        .says("primary: RATE_LIMITED (429), waited 1.")?
        .says("primary: RESET (200); what came is void, it starts again\n")?
        .says("primary: UNAUTHENTICATED (401) → fallback\n")?
        .says("fallback · 4 attempts · ")?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_answer_is_told_by_the_exit_code() -> anyhow::Result<()> {
    let (sandbox, simulator) = sandbox().await?;
    for model in ["sim-primary", "sim-fallback", "sim-local"] {
        simulator.script(model, &Script::always(cut())).await?;
    }
    let broken = run(&sandbox, &["chat", "A story"])?.exits(5)?.says("NO_MODEL_ANSWERED")?;
    assert_eq!(broken.stdout, "");
    broken.says("what came, not to be taken for an answer:\n  Once upon")?;

    let declined = Reply { stop_reason: Some(StopReason::Refusal), ..pieces(&["I cannot."]) };
    simulator.script("sim-primary", &Script::always(declined.into())).await?;
    let ended = run(&sandbox, &["chat", "A story"])?.exits(1)?.says("The model declined.")?;
    assert_eq!(ended.stdout, "I cannot.\n");
    run(&sandbox, &["chat", "A story", "--route", "nowhere"])?.exits(2)?.says("route")?;
    run(&sandbox, &["chat", "A story", "--token", "bhk_wrong"])?.exits(4)?;
    run(&sandbox, &["chat", "A story", "--as", "auditor"])?.exits(4)?.says("ROLE_REQUIRED")?;
    Ok(())
}

#[tokio::test]
async fn a_conversation_sends_what_was_said_before() -> anyhow::Result<()> {
    let (sandbox, simulator) = sandbox().await?;
    let script = Script::once([Step::text("I am here."), Step::text("Until now.")]);
    simulator.script("sim-primary", &script).await?;
    let ended = said(&sandbox, &["chat", "--session", "s1"], "Who is there?\n\nSince when?\n")?.exits(0)?;
    assert_eq!(ended.stdout, "I am here.\nUntil now.\n");
    let asked = simulator.requests(Some("sim-primary")).await?;
    let turns =
        |at: usize| asked.requests.get(at).and_then(|asked| asked.body["messages"].as_array().cloned());
    assert_eq!(turns(0).map(|turns| turns.len()), Some(1));
    let second = Value::from(turns(1).context("a second request")?).to_string();
    for part in ["Who is there?", "I am here.", "Since when?"] {
        assert!(second.contains(part), "{second}");
    }
    Ok(())
}

#[tokio::test]
async fn json_is_every_message_on_a_line_of_its_own() -> anyhow::Result<()> {
    let (sandbox, simulator) = sandbox().await?;
    simulator.script("sim-primary", &Script::once([cut(), Step::text("All of it.")])).await?;
    let ended = run(&sandbox, &["chat", "A story", "--json"])?.exits(0)?;
    let messages: Vec<Value> =
        ended.stdout.lines().map(serde_json::from_str).collect::<Result<_, serde_json::Error>>()?;
    let keys: Vec<&str> =
        messages.iter().flat_map(|message| message.as_object()?.keys().next().map(String::as_str)).collect();
    let tellings: Vec<&str> = keys.iter().copied().filter(|key| *key != "text").collect();
    assert_eq!(tellings, ["attempt_started", "attempt_reset", "attempt_started", "completed"], "{keys:?}");
    let whole = &messages[messages.len() - 1]["completed"]["response"]["message"]["content"][0]["text"];
    assert_eq!(whole, "All of it.");
    assert_eq!(ended.stderr, "");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_asks_nobody_and_sensitivity_stays_at_home() -> anyhow::Result<()> {
    let (sandbox, simulator) = sandbox().await?;
    let planned = run(&sandbox, &["chat", "A story", "--dry-run"])?.exits(0)?;
    assert_eq!(planned.stdout, "Would be asked, in order:\n  1. primary\n  2. fallback\n  3. local\n");
    assert!(simulator.requests(None).await?.requests.is_empty());
    run(&sandbox, &["chat", "My diary", "--sensitivity", "health"])?.exits(0)?.says("→ local\n")?;
    assert!(simulator.requests(Some("sim-primary")).await?.requests.is_empty());
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_the_answer_and_the_models_work() -> anyhow::Result<()> {
    let (sandbox, simulator) = sandbox().await?;
    let endless = Reply { pause_ms: 20, chunks: vec!["word ".into(); 5_000], ..Reply::default() };
    simulator.script("sim-primary", &Script::always(endless.into())).await?;
    let data = sandbox.data();
    let file = |name: &str| File::create(data.join(name));
    let mut child = command(&data, &["chat", "A story", "--json", "--data"])?
        .arg(&data)
        .stdout(file("out")?)
        .stderr(file("err")?)
        .spawn()?;
    eventually("text to come", BOUND, || {
        let said = std::fs::read_to_string(data.join("out"));
        async move { Ok(said?.contains("word").then_some(())) }
    })
    .await?;
    kill_process(Pid::from_child(&child), Signal::INT)?;
    let status = eventually("the command to end", BOUND, || {
        let status = child.try_wait();
        async move { Ok(status?) }
    })
    .await?;
    let said = std::fs::read_to_string(data.join("err"))?;
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("Stopped. The answer was ended with it."), "{said}");
    eventually("the model to be left", BOUND, || {
        let asked = simulator.requests(Some("sim-primary"));
        async move { Ok((asked.await?.requests[0].answered == Answered::Abandoned).then_some(())) }
    })
    .await
}

/// A terminal of a person: what is typed goes in, and what is on the screen comes out.
struct Terminal {
    keys: File,
    /// The side of the programs, kept open so that its settings can be looked at when they have ended.
    line: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn open() -> anyhow::Result<Self> {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&person)?;
        unlockpt(&person)?;
        let name = ptsname(&person, Vec::new())?;
        let line = File::options().read(true).write(true).open(OsStr::from_bytes(name.to_bytes()))?;
        let keys = File::from(person);
        let (mut shown, screen) = (keys.try_clone()?, Arc::<Mutex<String>>::default());
        let written = Arc::clone(&screen);
        // Ends with the test, which closes the other side.
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = shown.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]);
                written.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { keys, line, screen })
    }

    /// The same command with this terminal as its own, which the keys reach as signals too.
    fn runs(&self, command: &Command) -> anyhow::Result<Command> {
        let mut here = Command::new("setsid");
        here.arg("--ctty").arg(command.get_program()).args(command.get_args());
        here.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        here.stdin(self.line.try_clone()?).stdout(self.line.try_clone()?).stderr(self.line.try_clone()?);
        Ok(here)
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn shows(&self, part: &str) -> anyhow::Result<()> {
        eventually(part, BOUND, || {
            let shown = self.screen().contains(part);
            async move { Ok(shown.then_some(())) }
        })
        .await
    }
}

#[tokio::test]
async fn at_a_terminal_it_comes_piece_by_piece_and_ctrl_c_leaves_all_as_it_was() -> anyhow::Result<()> {
    let (sandbox, simulator) = sandbox().await?;
    simulator.script("sim-primary", &Script::always(Step::status(401))).await?;
    let chunks = (0..5_000).map(|word| format!("word{word} ")).collect();
    let endless = Reply { pause_ms: 20, chunks, ..Reply::default() };
    simulator.script("sim-fallback", &Script::always(endless.into())).await?;
    let terminal = Terminal::open()?;
    let before = tcgetattr(&terminal.line)?;
    let data = sandbox.data();
    let mut chat = command(&data, &["chat", "A story", "--data"])?;
    chat.arg(&data);
    let mut child = terminal.runs(&chat)?.spawn()?;
    terminal.shows("word0 ").await?;
    assert!(!terminal.screen().contains("word4999"), "it comes before it is whole");
    terminal.shows("word20 ").await?;
    let shown = without_styles(&terminal.screen());
    let attempts = ["→ primary", "primary: UNAUTHENTICATED (401) → fallback", "word0 word1 "];
    let places: Vec<_> = attempts.iter().map(|part| shown.find(part)).collect();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{shown}");

    (&terminal.keys).write_all(b"\x03")?;
    let status = eventually("the command to end", BOUND, || {
        let status = child.try_wait();
        async move { Ok(status?) }
    })
    .await?;
    terminal.shows("Stopped. The answer was ended with it.").await?;
    assert_eq!(status.code(), Some(130), "{}", terminal.screen());
    let after = tcgetattr(&terminal.line)?;
    let cooked = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
    assert!(after.local_modes.contains(cooked), "{after:?}");
    assert_eq!(
        (after.local_modes, after.input_modes, after.output_modes),
        (before.local_modes, before.input_modes, before.output_modes)
    );
    let screen = terminal.screen();
    let last_style = screen.rfind("\u{1b}[").and_then(|at| screen.get(at..at + 4));
    assert_eq!(last_style, Some("\u{1b}[0m"), "a style goes on: {screen:?}");
    eventually("the model to be left", BOUND, || {
        let asked = simulator.requests(Some("sim-fallback"));
        async move { Ok((asked.await?.requests[0].answered == Answered::Abandoned).then_some(())) }
    })
    .await
}

/// A screen without its styles.
fn without_styles(screen: &str) -> String {
    let mut plain = String::new();
    for (at, part) in screen.split("\u{1b}[").enumerate() {
        let rest = if at == 0 { part } else { part.split_once('m').map_or("", |(_style, rest)| rest) };
        plain.push_str(rest);
    }
    plain
}
