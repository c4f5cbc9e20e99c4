//! The list of failpoints, and that what it names is in the code.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use bulkhead_failpoint::{CRASHES, FAULTS};

/// Adds the names of the failpoints in the sources below `folder`.
fn collect(folder: &Path, named: &mut BTreeSet<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("tests") && !path.ends_with("crates/failpoint") {
                collect(&path, named)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            for call in ["active(\"", "die(\""] {
                let names = text.split(call).skip(1).filter_map(|rest| rest.split_once('"'));
                named.extend(names.map(|(name, _)| name.to_owned()));
            }
        }
    }
    Ok(())
}

#[test]
fn every_failpoint_is_listed_once_and_stands_in_the_code() -> anyhow::Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let mut named = BTreeSet::new();
    collect(&top.join("services"), &mut named)?;
    collect(&top.join("crates"), &mut named)?;
    let mut listed: Vec<String> =
        CRASHES.iter().chain(FAULTS).map(|failpoint| failpoint.name.to_owned()).collect();
    listed.sort();
    assert_eq!(named.into_iter().collect::<Vec<_>>(), listed);
    Ok(())
}
