//! What lies where, who may read it, and what a second run does.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Every file below a folder, by its path within, with its mode and content.
fn files(folder: &Path) -> BTreeMap<String, (u32, String)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                assert_eq!(mode(&path), 0o700, "{}", path.display());
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below").display().to_string();
                found.insert(name, (mode(&path), std::fs::read_to_string(&path).expect("read")));
            }
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("metadata").permissions().mode() & 0o777
}

fn made() -> (tempfile::TempDir, Volumes) {
    let folder = tempfile::tempdir().expect("a folder");
    let volumes = Volumes::at(folder.path().to_owned());
    make(&volumes, &["bulkhead.internal".to_owned()]).expect("made");
    (folder, volumes)
}

#[test]
fn each_folder_holds_what_its_service_needs_and_nothing_of_another() {
    let (folder, _) = made();
    let found = files(folder.path());
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    let pair = |service: &str, kind: &str| {
        ["crt", "key"].map(|end| format!("{service}/certs/{service}{kind}.{end}"))
    };
    let mut expected: Vec<String> = [
        "approval/keys/grant.key approval/keys/grant.pub approval/keys/approval.token",
        "audit/keys/log.key audit/keys/log.pub",
        "tool-executor/keys/grant.pub tool-executor/keys/tool-executor.token tool-executor/policy.cedar",
        "model-router/keys/model-router.token model-router/keys/simulated-models.key model-router/simulated-models.toml",
        "identities/identities.toml",
        "people/tokens/agent people/tokens/approver people/tokens/operator people/tokens/auditor",
        "people/certs/ca.crt people/keys/log.pub people/bulkhead.toml",
        "agent/tokens/agent agent/certs/ca.crt agent/bulkhead.toml",
        "authority/certs/ca.crt authority/certs/ca.key authority/folders",
    ]
    .iter()
    .flat_map(|line| line.split(' ').map(str::to_owned))
    .collect();
    for service in ["approval", "audit", "tool-executor", "model-router"] {
        expected.extend(pair(service, ""));
        expected.extend(["bulkhead.toml", "certs/ca.crt"].map(|name| format!("{service}/{name}")));
        if service != "audit" {
            expected.extend(pair(service, ".client"));
        }
    }
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(found["approval/keys/grant.pub"], found["tool-executor/keys/grant.pub"]);
}

#[test]
fn secrets_are_for_their_owner_alone_and_stand_in_no_other_file() {
    let (folder, _) = made();
    let found = files(folder.path());
    let secret = |name: &str| {
        name.ends_with(".key")
            || name.ends_with(".token")
            || name.starts_with("people/tokens/")
            || name.starts_with("agent/tokens/")
            || name.starts_with("identities/")
    };
    for (name, (mode, text)) in &found {
        assert_eq!(*mode, if secret(name) { 0o600 } else { 0o644 }, "{name}");
        let elsewhere =
            found.iter().filter(|(other, (_, content))| *other != name && content.contains(text.trim()));
        // The agent's token lies beside those of people, too.
        let copies = usize::from(name.ends_with("/tokens/agent"));
        let known = name.ends_with("simulated-models.key") || elsewhere.count() == copies;
        assert!(!secret(name) || known, "{name}");
    }
}

#[test]
fn a_second_run_changes_nothing_and_says_so() {
    let (folder, volumes) = made();
    let before = files(folder.path());
    let said = make(&volumes, &[]).expect("nothing to do");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_run_that_was_cut_short_is_begun_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let volumes = Volumes::at(folder.path().to_owned());
    volumes.begin(&Folder::ALL).expect("begun");
    let (_staging, layout) = staging().expect("staged");
    furnish(&layout, Some(&[])).expect("furnished");
    contents::fill(&volumes, Folder::Service(crate::serve::Service::Approval), &layout).expect("filled");
    let earlier = files(folder.path())["approval/keys/grant.key"].clone();
    make(&volumes, &[]).expect("made");
    let found = files(folder.path());
    assert_ne!(found["approval/keys/grant.key"], earlier);
    assert_eq!(found["approval/keys/grant.pub"], found["tool-executor/keys/grant.pub"]);
    assert!(!found.keys().any(|name| name.ends_with("unfinished")));
}

#[test]
fn a_lost_folder_is_named_and_nothing_is_made_in_its_place() {
    let (folder, volumes) = made();
    std::fs::remove_dir_all(volumes.path(Folder::Service(crate::serve::Service::Approval))).expect("removed");
    let before = files(folder.path());
    let refused = make(&volumes, &[]).expect_err("a folder is lost").to_string();
    assert!(refused.starts_with("approval lost what audit"), "{refused}");
    assert_eq!(files(folder.path()), before);
}

#[test]
fn an_installation_of_an_earlier_release_gets_what_is_new_and_keeps_the_rest() {
    let (folder, volumes) = made();
    let whole = files(folder.path());
    let agent = volumes.path(Folder::Agent);
    let earlier = || {
        std::fs::remove_dir_all(&agent).expect("removed");
        std::fs::remove_file(volumes.path(Folder::Authority).join("folders")).expect("removed");
    };
    earlier();
    let said = make(&volumes, &[]).expect("made");
    assert!(said.contains("this release adds") && !said.contains("authority"), "{said}");
    assert_eq!(files(folder.path()), whole);

    // The same after a run that was cut short.
    earlier();
    volumes.begin(&[Folder::Agent]).expect("begun");
    make(&volumes, &[]).expect("made");
    assert_eq!(files(folder.path()), whole);

    // From then on it can be lost.
    std::fs::remove_dir_all(&agent).expect("removed");
    let refused = make(&volumes, &[]).expect_err("a folder is lost").to_string();
    assert!(refused.starts_with("agent lost what"), "{refused}");
}

#[test]
fn a_renewal_signs_certificates_and_leaves_the_rest() {
    let (folder, volumes) = made();
    let before = files(folder.path());
    renew(&volumes, &[]).expect("renewed");
    let after = files(folder.path());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let changed: Vec<_> = after.keys().filter(|name| before[*name] != after[*name]).collect();
    let signed: Vec<_> =
        after.keys().filter(|name| name.contains("/certs/") && !name.contains("/ca.")).collect();
    assert_eq!(changed, signed);
}
