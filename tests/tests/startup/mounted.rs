//! Stores on a file system that is mounted read-only, as disks are that the kernel gave up on.
//!
//! The mount is seen by the service alone: it starts in namespaces of its own, which root may make, and others where the
//! system lets them.

use std::process::{Command, Output, Stdio};

use anyhow::Context as _;
use bulkhead_tests::{Binary, binary};

use crate::UNUSABLE;
use crate::house::{House, SERVICES, said};

/// Mounts a folder over itself, read-only, and becomes the rest of the arguments.
const READ_ONLY: &str = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@""#;

fn ends_on_read_only(house: &House, service: &str) -> anyhow::Result<Output> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", READ_ONLY, "sh"]).arg(house.path(service));
    command.arg(binary(Binary::Shipped)?).args(["serve", service, "--config"]).arg(house.config());
    command.stdin(Stdio::null()).output().context("cannot run unshare")
}

#[tokio::test]
async fn a_store_on_a_read_only_mount_is_named_and_left_as_it_is() -> anyhow::Result<()> {
    let house = House::build_after(1).await?;
    for service in SERVICES {
        let before = house.content()?;
        let output = ends_on_read_only(&house, service)?;
        let told = said(&output);
        assert_eq!(output.status.code(), Some(UNUSABLE), "{service}: {told}");
        assert!(told.contains(&format!("/{service}")), "{service} does not name its store: {told}");
        assert!(told.contains("ead-only file system"), "{service} does not say why: {told}");
        assert!(house.content()? == before, "{service} has changed something");
        house.starts(service).await?;
    }
    Ok(())
}
