//! Stores that cannot be written, and a record that is not what it was.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;

use anyhow::Context as _;
use bulkhead_tests::{Binary, binary};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::house::{House, SERVICES, said};
use crate::{DAMAGED, UNUSABLE};

/// Runs a service that permissions hold for, root's included, until it ends by itself.
fn ends_within_permissions(house: &House, service: &str) -> anyhow::Result<Output> {
    let mut command = std::process::Command::new(binary(Binary::Shipped)?);
    command.args(["serve", service, "--config"]).arg(house.config()).stdin(Stdio::null());
    let run = move || {
        // Held by a thread and handed down to what it starts. Who is not root has nothing to give up.
        let given_up = remove_capability_from_bounding_set(CapabilitySet::DAC_OVERRIDE);
        if given_up.is_err() && rustix::process::geteuid().is_root() {
            anyhow::bail!("root cannot give up writing everywhere: {given_up:?}");
        }
        command.output().context("cannot run the service")
    };
    thread::spawn(run).join().map_err(|_panic| anyhow::anyhow!("the thread panicked"))?
}

fn permit(folder: &Path, of_files: u32, of_folders: u32) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            permit(&path, of_files, of_folders)?;
        } else {
            fs::set_permissions(&path, Permissions::from_mode(of_files))?;
        }
    }
    Ok(fs::set_permissions(folder, Permissions::from_mode(of_folders))?)
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_named_and_left_as_it_is() -> anyhow::Result<()> {
    let house = House::build().await?;
    for service in SERVICES {
        let folder = house.path(service);
        let before = house.content()?;
        permit(&folder, 0o400, 0o500)?;
        let output = ends_within_permissions(&house, service)?;
        let told = said(&output);
        assert_eq!(output.status.code(), Some(UNUSABLE), "{service}: {told}");
        assert!(told.contains(&format!("/{service}")), "{service} does not name its store: {told}");
        assert!(told.contains("ermission denied"), "{service} does not say why: {told}");
        assert!(house.content()? == before, "{service} has changed something");
        permit(&folder, 0o600, 0o700)?;
        house.starts(service).await?;
    }
    Ok(())
}

/// What is done to the lines of the record, and what is said of it; nothing: it starts.
type Harm = (&'static str, fn(&[u8]) -> Vec<u8>, Option<&'static str>);

#[tokio::test]
async fn a_record_that_is_not_what_was_signed_is_not_served_and_not_touched() -> anyhow::Result<()> {
    let house = House::build_after(3).await?;
    let logs = house.path("audit/logs");
    let day = fs::read_dir(&logs)?.next().context("a day")??.path();
    let whole = fs::read(&day)?;
    anyhow::ensure!(whole.iter().filter(|byte| **byte == b'\n').count() >= 2, "too few lines to harm");
    let harms: [Harm; 5] = [
        ("a changed byte", |whole| [b" ", &whole[1..]].concat(), Some("signed")),
        ("a dropped line", |whole| after_first_line(whole).to_vec(), Some("lines were removed")),
        ("a cut within what was signed", |whole| whole[..whole.len() - 2].to_vec(), Some("signed")),
        ("nothing left", |_whole| Vec::new(), Some("lines were removed")),
        // What was never acknowledged may go.
        ("a torn tail", |whole| [whole, b"{\"torn"].concat(), None),
    ];
    for (what, harm, told) in harms {
        fs::write(&day, harm(&whole))?;
        let before = fs::read(&day)?;
        match told {
            Some(expected) => {
                let output = house.ends("audit", &house.config(), &[]).await?;
                let said = said(&output);
                assert_eq!(output.status.code(), Some(DAMAGED), "{what}: {said}");
                assert!(said.contains(expected) && said.contains("restore"), "{what}: {said}");
                assert!(fs::read(&day)? == before, "{what}: the record was touched");
            }
            None => {
                house.starts("audit").await?;
                assert!(fs::read(&day)? == whole, "{what}: what was acknowledged is not what it was");
            }
        }
        fs::write(&day, &whole)?;
    }
    house.starts("audit").await
}

fn after_first_line(whole: &[u8]) -> &[u8] {
    let end = whole.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    &whole[end..]
}
