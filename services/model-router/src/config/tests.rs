//! Every mistake is found, and all of them at once.

use std::path::Path;

use bulkhead_edge::{Mistakes, Settings};

use super::*;
use crate::balance::Balance;
use crate::ledger::BudgetScope;
use crate::ledger::account::Marks;
use crate::ledger::period::Period;
use crate::limit::concurrency::Bounds;
use crate::limit::rate::Rate;
use crate::listener::Recovery;
use crate::provider::ThinkingSwitch;
use crate::spend::Caps;

const GOOD: &str = r#"
[model-router]
data = "data"
edge = { listen = "127.0.0.1:0", tokens = "FOLDER/tokens.toml" }
audit = { endpoint = "http://127.0.0.1:7104", token_file = "FOLDER/token" }
[[model-router.model]]
name = "primary"
provider = "anthropic"
base_url = "https://api.anthropic.com"
provider_model = "claude"
local = false
api_key_file = "FOLDER/key"
[[model-router.model]]
name = "local"
provider = "ollama"
base_url = "http://localhost:11434"
provider_model = "llama3.2"
local = true
[[model-router.route]]
name = "default"
chain = ["primary", "local"]
"#;

fn read(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("key", "sk-ant-secret\n");
    write("token", "t");
    write("tokens.toml", "# Nobody.");
    write("bulkhead.toml", &text.replace("FOLDER", &folder.path().display().to_string()));
    load(&folder.path().join("bulkhead.toml")).map_err(|mistakes| mistakes.to_string())
}

fn load(path: &Path) -> Result<Config, Mistakes> {
    Settings::load(path, crate::NAME).and_then(|settings| settings.read(Config::read))
}

#[test]
fn a_good_configuration_is_read() {
    let config = read(GOOD).expect("reads");
    assert_eq!(
        config.routes,
        [RouteConfig {
            name: "default".into(),
            tiers: vec![vec![0], vec![1]],
            balance: Balance::Weighted,
            recovery: Recovery::Restart,
            fallbacks: Fallbacks { on_refusal: false, on_context_length: true },
            timeouts: Timeouts::default(),
            caps: Caps::default(),
        }]
    );
    assert_eq!(config.models[0].target.key, Some(Secret::new("sk-ant-secret")));
    assert_eq!(config.retry.patience, Duration::from_secs(10));
    assert!(!format!("{config:?}").contains("sk-ant-secret"));
}

#[test]
fn what_a_model_can_do_is_said_in_the_words_of_its_provider() {
    let with = |model: &str, key: &str| {
        let name = format!("name = \"{model}\"");
        read(&GOOD.replace(&name, &format!("{name}\n{key}")))
    };
    let config = with("primary", "structured_outputs = true").expect("reads");
    assert!(config.models[0].target.abilities.structured_outputs);
    let mistakes = with("local", "structured_outputs = true").expect_err("Ollama has no such thing");
    assert!(mistakes.contains("belongs to models with provider = \"anthropic\""), "{mistakes}");
    let mistakes = with("primary", "stream_end = \"finish_reason\"").expect_err("it has a last word");
    assert!(mistakes.contains("belongs to models with provider = \"openai-compatible\""), "{mistakes}");
    assert!(!config.models[0].target.abilities.ends_at_finish_reason);
    let config = with("local", "thinking = \"level\"").expect("reads");
    assert_eq!(config.models[1].target.abilities.thinking, ThinkingSwitch::Level);
    let mistakes = with("primary", "thinking = \"level\"").expect_err("it is told in tokens");
    assert!(mistakes.contains("belongs to models with provider = \"ollama\""), "{mistakes}");
}

#[test]
fn a_proxys_password_is_never_shown() {
    let with = |line: &str| GOOD.replace(r#"data = "data""#, &format!("data = \"data\"\n{line}"));
    let text = with(r#"cloud_proxy = "http://ada:hunter2@proxy.example:3128""#);
    let shown = format!("{:?}", read(&text).expect("reads"));
    assert!(!shown.contains("hunter2") && shown.contains("hidden"), "{shown}");
    let bad = [
        r#"cloud_proxy = "socks5://ada:hunter2@proxy.example""#,
        r#"cloud_proxy = "hunter2""#,
        "cloud_proxy = 4711",
        r#"cloud_proxy = ["hunter2"]"#,
        "cloud_proxy.password = \"hunter2\"",
    ];
    for line in bad {
        let told = read(&with(line)).expect_err(line);
        assert!(!told.contains("hunter2") && !told.contains("4711"), "{told}");
    }
}

#[test]
fn each_mistake_is_named() {
    let cases = [
        (r#"chain = ["primary", "local"]"#, r#"chain = ["primary", "lokal"]"#, "\"lokal\" is no model"),
        (r#"chain = ["primary", "local"]"#, r#"chain = ["local", "local"]"#, "is there twice"),
        (r#"chain = ["primary", "local"]"#, "chain = []", "at least one model"),
        (r#"name = "local""#, r#"name = "primary""#, "names must be unique"),
        (r#"provider = "ollama""#, r#"provider = "olama""#, "must be one of anthropic, ollama"),
        ("https://api.anthropic.com", "api.anthropic.com", "must be http:// or https://"),
        ("https://api.anthropic.com", "https://u:p@api.anthropic.com", "must be http:// or https://"),
        ("https://api.anthropic.com", "http://api.anthropic.com", "must be https"),
        ("http://localhost:11434", "http://8.8.8.8:11434", "8.8.8.8 is not local"),
        ("http://localhost:11434", "http://0x08080808:11434", "8.8.8.8 is not local"),
        (r#"api_key_file = "FOLDER/key""#, "", "needs api_key_file or api_key_env"),
        (r#"api_key_file = "FOLDER/key""#, r#"api_key_file = "/none/such""#, "cannot read /none/such"),
        (
            r#"api_key_file = "FOLDER/key""#,
            r#"api_key_env = "BULKHEAD_NO_SUCH_VARIABLE""#,
            "BULKHEAD_NO_SUCH_VARIABLE",
        ),
        (r#"data = "data""#, "data = \"data\"\npatience_ms = 9999999", "patience_ms: 9999999 must be"),
        (r#"data = "data""#, "data = \"data\"\nlocal_networks = [\"here\"]", "\"here\" must be a network"),
        (r#"data = "data""#, "data = \"data\"\nmodle = 1", "did you mean model?"),
        ("local = true", "local = true\nattempts_max = 0", "attempts_max: 0 must be 1 to 10"),
        ("local = true", "local = true\ninput_price_usd_micros = 1", "needs output_price_usd_micros"),
        ("local = true", "local = true\ncontext_window_tokens = 0", "0 must be 1 to 1000000000 tokens"),
    ];
    for (from, to, expected) in cases {
        let told = read(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(told.contains(expected), "{to}: {told}");
    }
}

#[test]
fn all_mistakes_come_at_once() {
    let text = GOOD.replace("ollama", "olama").replace("https", "ftp").replace("\"local\"]", "\"lokal\"]");
    let told = read(&text).expect_err("three mistakes");
    for part in ["3 mistakes", "model.local.provider", "model.primary.base_url", "route.default.chain"] {
        assert!(told.contains(part), "{told}");
    }
}

/// The good configuration with prices, and more tables at its end.
fn with_tables(tables: &str) -> String {
    let priced = "local = false\ninput_price_usd_micros = 3000000\noutput_price_usd_micros = 15000000";
    format!("{}{tables}", GOOD.replacen("local = false", priced, 1))
}

#[test]
fn limits_and_budgets_are_read() {
    let tables = r#"
[[model-router.limit]]
name = "loops"
scope = "principal"
tenant = "acme"
requests_per_minute_max = 60
[[model-router.budget]]
name = "month"
scope = "tenant"
period = "month"
stop_usd_micros = 1000000
"#;
    let config = read(&with_tables(tables)).expect("reads");
    let rate = Rate { requests_per_minute_max: Some(60), tokens_per_minute_max: None };
    let limit = LimitConfig {
        name: "loops".into(),
        scope: LimitScope::Principal,
        tenant: Some("acme".into()),
        principal: None,
        rate,
    };
    assert_eq!(config.limits, [limit]);
    let budget = BudgetConfig {
        name: "month".into(),
        scope: BudgetScope::Tenant,
        tenant: None,
        period: Period::Month,
        marks: Marks { alert: None, stop: Some(1_000_000) },
    };
    assert_eq!(config.budgets, [budget]);
    assert_eq!(config.models[0].allowance.concurrency, Bounds { min: 4, max: 256 });
}

#[test]
fn limits_and_budgets_that_bound_nothing_are_mistakes() {
    let limit = "\n[[model-router.limit]]\nname = \"l\"\nscope = \"tenant\"\n";
    let budget = "\n[[model-router.budget]]\nname = \"b\"\nscope = \"tenant\"\nperiod = \"day\"\n";
    let stop = format!("{budget}stop_usd_micros = 1");
    let cases = [
        (with_tables(limit), "limit.l.requests_per_minute_max: is missing"),
        (with_tables(budget), "budget.b.stop_usd_micros: is missing"),
        (
            with_tables(&format!("{limit}requests_per_minute_max = 1{limit}requests_per_minute_max = 1")),
            "is there twice",
        ),
        (format!("{GOOD}{stop}"), "these models have none: primary"),
        (with_tables(&stop.replace("tenant", "everybody")), "must be one of tenant, session"),
        (with_tables(&stop.replace("= 1", "= 0")), "0 must be 1 to"),
        (
            GOOD.replacen("local = true", "local = true\nconcurrency_min = 9\nconcurrency_max = 8", 1),
            "9 must not be more than concurrency_max, 8",
        ),
    ];
    for (text, expected) in cases {
        let told = read(&text).expect_err(expected);
        assert!(told.contains(expected), "{told}");
    }
}
