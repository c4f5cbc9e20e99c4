//! What a service says when it cannot start, that nothing is lost by it, and that it starts once the cause is gone.
//!
//! Every test here works for root as for anybody else.

mod damaged;
mod house;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::Context as _;
use bulkhead_tests::{Binary, binary, within};
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tokio::process::Command;

use crate::house::{House, SERVICES, SOON, STORES, printed, said};

/// `EX_CONFIG` of sysexits.h: restarting does not help.
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
        assert_eq!(output.status.code(), Some(1), "{service}: {told}");
        assert!(told.contains(&address) && told.contains("in use"), "{service}: {told}");
        drop(taken);
        house.starts(service).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_none_is_named_and_left_as_it_is() -> anyhow::Result<()> {
    let house = House::build().await?;
    for (service, name) in STORES {
        // Away with all of it: SQLite could answer from the log beside the file.
        let (store, aside) = (house.path(name), house.path("aside"));
        let folder = store.parent().context("a folder")?;
        fs::rename(folder, &aside)?;
        fs::create_dir(folder)?;
        let garbage = b"this is no database, whatever its name says\n".repeat(100);
        fs::write(&store, &garbage)?;
        let output = house.ends(service, &house.config(), &[]).await?;
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{service}: {told}");
        assert!(told.contains(name) && told.contains("SQLite"), "{service}: {told}");
        assert!(fs::read(&store)? == garbage, "{service} has written into what it could not read");
        fs::remove_dir_all(folder)?;
        fs::rename(aside, folder)?;
        house.starts(service).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_named_and_left_as_it_is() -> anyhow::Result<()> {
    let house = House::build().await?;
    for (service, name) in STORES {
        let options = SqliteConnectOptions::new().filename(house.path(name));
        let mut store = SqliteConnection::connect_with(&options).await?;
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'of a later version', TRUE, x'00', 0)",
        )
        .execute(&mut store)
        .await?;
        store.close().await?;
        let before = fs::read(house.path(name))?;
        let output = house.ends(service, &house.config(), &[]).await?;
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{service}: {told}");
        assert!(told.contains(name) && told.contains("newer version"), "{service}: {told}");
        assert!(fs::read(house.path(name))? == before, "{service} has changed a store of a newer version");

        let mut store = SqliteConnection::connect_with(&options).await?;
        sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 9999").execute(&mut store).await?;
        store.close().await?;
        house.starts(service).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_was_stopped_is_one_file() -> anyhow::Result<()> {
    let house = House::build().await?;
    for (service, name) in STORES {
        assert!(house.path(name).exists(), "{service} has no store");
        for suffix in ["wal", "shm"] {
            let left = house.path(&format!("{name}-{suffix}"));
            assert!(!left.exists(), "{service} has left {}", left.display());
        }
    }
    Ok(())
}

#[tokio::test]
async fn up_ends_with_78_where_a_configuration_cannot_work() -> anyhow::Result<()> {
    let house = House::build().await?;
    let file = house.path("bulkhead.toml");
    let kept = fs::read_to_string(&file)?;
    for broken in [kept.replace("[audit]", "[audit]\nnonsense = 1"), "= oops".to_owned()] {
        fs::write(&file, broken)?;
        let mut up = Command::new(binary(Binary::Shipped)?);
        up.args(["up", "--simulate", "--data"]).arg(house.sandbox.data());
        let output = within("the end of up", SOON, up.kill_on_drop(true).output()).await??;
        assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{}", said(&output));
    }
    Ok(())
}
