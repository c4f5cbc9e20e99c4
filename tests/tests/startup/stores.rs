//! Stores that somebody else has, that are none, or that another version wrote.

use std::fs;

use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::house::{House, STORES, said};
use crate::{DAMAGED, TAKEN};

/// What SQLite reads and writes at once, unless it is told otherwise.
const PAGE_BYTES: usize = 4096;

#[tokio::test]
async fn a_store_that_another_process_has_is_named_and_the_service_starts_once_it_is_free()
-> anyhow::Result<()> {
    let house = House::build().await?;
    let locks = STORES.map(|(service, store)| (service, house.path(store).with_extension("lock")));
    let audit = ("audit", house.path("audit/lock"));
    for (service, lock) in locks.into_iter().chain([audit]) {
        let held = fs::OpenOptions::new().write(true).open(&lock).context("a lock beside the store")?;
        held.lock()?;
        let output = house.ends(service, &house.config(), &[]).await?;
        let told = said(&output);
        assert_eq!(output.status.code(), Some(TAKEN), "{service}: {told}");
        assert!(told.contains("in use by another instance"), "{service}: {told}");
        drop(held);
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
        assert_eq!(output.status.code(), Some(DAMAGED), "{service}: {told}");
        assert!(told.contains(name) && told.contains("SQLite"), "{service}: {told}");
        assert!(fs::read(&store)? == garbage, "{service} has written into what it could not read");
        fs::remove_dir_all(folder)?;
        fs::rename(aside, folder)?;
        house.starts(service).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_damaged_page_in_the_middle_is_found_before_anything_is_written() -> anyhow::Result<()> {
    let house = House::build_after(3).await?;
    for (service, name) in STORES {
        let store = house.path(name);
        let whole = fs::read(&store)?;
        let middle = whole.len() / PAGE_BYTES / 2 * PAGE_BYTES;
        assert!(middle >= 2 * PAGE_BYTES, "{service} has no page between its first and its last");
        for rubbish in [0x00, 0xa5] {
            let mut damaged = whole.clone();
            damaged[middle..middle + PAGE_BYTES].fill(rubbish);
            fs::write(&store, &damaged)?;
            let output = house.ends(service, &house.config(), &[]).await?;
            let told = said(&output);
            assert_eq!(output.status.code(), Some(DAMAGED), "{service}: {told}");
            assert!(told.contains(name) && told.contains("backup"), "{service}: {told}");
            assert!(fs::read(&store)? == damaged, "{service} has written to a damaged store");
        }
        fs::write(&store, &whole)?;
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
        assert_eq!(output.status.code(), Some(DAMAGED), "{service}: {told}");
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
