//! What a service says when it cannot start, that nothing is lost by it, and that it starts once the cause is gone.
//!
//! Every test here works for root as for anybody else.

mod damaged;
mod house;
#[cfg(feature = "mounts")]
mod mounted;
mod stores;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use anyhow::Context as _;
use bulkhead_tests::{Binary, binary, within};
use serde_json::Value;
use tokio::process::Command;

use crate::house::{House, SERVICES, SOON, printed, said};

/// Exit codes out of sysexits(3): the data is not what it should be, somebody else has what is needed, reading or
/// writing fails, and the configuration cannot work.
pub(crate) const DAMAGED: i32 = 65;
pub(crate) const TAKEN: i32 = 69;
pub(crate) const UNUSABLE: i32 = 74;
const EXIT_CONFIG: i32 = 78;

#[tokio::test]
async fn a_check_says_ok_or_every_mistake_and_writes_nothing() -> anyhow::Result<()> {
    let house = House::build().await?;
    let broken = house.path("broken.toml");
    let text = fs::read_to_string(house.config())?;
    let text = text.replace("reflection = true", "").replace("listen = ", "reflection = 1\nlisten = ");
    fs::write(&broken, text.replace("tokens = ", "tokenz = "))?;
    let before = house.content()?;
    for service in SERVICES {
        let good = house.ends(service, &house.config(), &["--check-config"]).await?;
        assert_eq!(
            (good.status.code(), printed(&good)),
            (Some(0), format!("{service}: ok\n")),
            "{}",
            said(&good)
        );

        let bad = house.ends(service, &broken, &["--check-config"]).await?;
        assert_eq!(bad.status.code(), Some(EXIT_CONFIG), "{service}");
        let mistakes = [
            format!("{service}.edge.reflection: must be true or false, not a whole number"),
            format!("{service}.edge.tokens: is missing"),
            format!("{service}.edge.tokenz: is not known here; did you mean tokens?"),
        ];
        for mistake in mistakes {
            assert!(printed(&bad).contains(&mistake), "{mistake} is missing from {}", printed(&bad));
        }

        let answer = house.ends(service, &broken, &["--check-config", "--json"]).await?;
        let answer: Value = serde_json::from_slice(&answer.stdout)?;
        assert_eq!((&answer["ok"], &answer["service"]), (&Value::from(false), &Value::from(service)));
        let mistakes = answer["mistakes"].as_array().context("a list")?;
        assert!(mistakes.len() >= 3 && mistakes.iter().all(|mistake| mistake["line"].is_u64()), "{answer}");
    }
    assert!(house.content()? == before, "a check has written something");
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_named_by_each_service() -> anyhow::Result<()> {
    let house = House::build().await?;
    let file = house.path("odd.toml");
    type Make = fn(&Path) -> std::io::Result<()>;
    let cases: [(&str, Make); 5] = [
        ("cannot be read", |_absent| Ok(())),
        ("is missing", |path| fs::write(path, "")),
        ("is not UTF-8", |path| fs::write(path, b"a = \"\xff\"")),
        ("is larger than", |path| fs::write(path, vec![b'#'; 2 << 20])),
        ("cannot be read", |path| fs::remove_file(path).and_then(|()| fs::create_dir(path))),
    ];
    for (expected, make) in cases {
        make(&file)?;
        for service in SERVICES {
            let output = house.ends(service, &file, &[]).await?;
            assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{service}: {}", said(&output));
            let told = said(&output);
            assert!(told.contains(expected) && told.contains("odd.toml"), "{service}: {told}");
            assert_eq!(printed(&output), "", "{service} announced something");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_named_and_cannot_be_used_ends_each_service_with_78() -> anyhow::Result<()> {
    let house = House::build().await?;
    let cases = [
        ("audit", "keys/log.key", "audit.log_key"),
        ("approval", "keys/grant.key", "approval.grant_key"),
        ("tool-executor", "keys/grant.pub", "tool-executor.grant_keys"),
        ("tool-executor", "policy.cedar", "tool-executor.policy"),
        ("model-router", "keys/simulated-models.key", "api_key_file"),
        ("model-router", "keys/model-router.token", "model-router.audit.token_file"),
        ("audit", "identities.toml", "audit.edge.tokens"),
    ];
    for (service, name, key) in cases {
        let kept = fs::read(house.path(name))?;
        fs::write(house.path(name), "hunter2 is no key\n= oops")?;
        let output = house.ends(service, &house.config(), &[]).await?;
        let told = said(&output);
        assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{service} with {name}: {told}");
        assert!(told.contains(key), "{key} is not in {told}");
        assert!(!told.contains("hunter2"), "what {name} holds is repeated: {told}");
        fs::write(house.path(name), kept)?;
        house.starts(service).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_named_and_the_service_starts_once_it_is_free() -> anyhow::Result<()> {
    let house = House::build().await?;
    for service in SERVICES {
        let address = house.sandbox.address(service)?;
        let taken = TcpListener::bind(&address)?;
        let output = house.ends(service, &house.config(), &[]).await?;
        let told = said(&output);
        assert_eq!(output.status.code(), Some(TAKEN), "{service}: {told}");
        assert!(told.contains(&address) && told.contains("in use"), "{service}: {told}");
        drop(taken);
        house.starts(service).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_address_that_no_machine_may_have_is_a_mistake() -> anyhow::Result<()> {
    let house = House::build().await?;
    let elsewhere = house.path("elsewhere.toml");
    let text = fs::read_to_string(house.config())?;
    for service in SERVICES {
        // Of a network that is kept for documentation (RFC 5737), allowed in words.
        let listen = format!("\"{}\"", house.sandbox.address(service)?);
        let there = "\"192.0.2.1:7\"\nplaintext = \"i-trust-everyone-on-this-network\"";
        fs::write(&elsewhere, text.replace(&listen, there))?;
        let output = house.ends(service, &elsewhere, &[]).await?;
        assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{service}: {}", said(&output));
        assert!(said(&output).contains("192.0.2.1:7"), "{service}: {}", said(&output));
    }
    Ok(())
}

#[tokio::test]
async fn up_ends_as_the_service_that_does_not_start() -> anyhow::Result<()> {
    let house = House::build().await?;
    let taken = TcpListener::bind(house.sandbox.address("approval")?)?;
    let output = up(&house).await?;
    assert_eq!(output.status.code(), Some(TAKEN), "{}", said(&output));
    drop(taken);

    let file = house.path("bulkhead.toml");
    let kept = fs::read_to_string(&file)?;
    for broken in [kept.replace("[audit]", "[audit]\nnonsense = 1"), "= oops".to_owned()] {
        fs::write(&file, broken)?;
        let output = up(&house).await?;
        assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{}", said(&output));
    }
    Ok(())
}

/// Runs a stack that is expected to end by itself.
async fn up(house: &House) -> anyhow::Result<Output> {
    let mut up = Command::new(binary(Binary::Shipped)?);
    up.args(["up", "--simulate", "--data"]).arg(house.sandbox.data());
    Ok(within("the end of up", SOON, up.kill_on_drop(true).output()).await??)
}
