//! Dependencies point one way: services, crates, proto. Services meet only through the contracts.

use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

/// The services. `bulkhead`, the command that can be any of them, is the one exception.
const SERVICES: [&str; 4] =
    ["bulkhead-model-router", "bulkhead-tool-executor", "bulkhead-approval", "bulkhead-audit"];

/// What each member of the workspace depends on, of the workspace.
fn members() -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["metadata", "--format-version", "1", "--locked", "--no-deps"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let ours = |package: &Value| {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        dependencies.map(name).filter(|name| name.starts_with("bulkhead")).collect()
    };
    Ok(packages.iter().map(|package| (name(package), ours(package))).collect())
}

#[test]
fn no_service_depends_on_another_and_no_crate_on_a_service() -> anyhow::Result<()> {
    let members = members()?;
    assert!(members.len() >= 14, "only {} members", members.len());
    for (member, dependencies) in members {
        if member == "bulkhead" || member == "bulkhead-tests" {
            continue;
        }
        let services: Vec<_> =
            dependencies.iter().filter(|dependency| SERVICES.contains(&dependency.as_str())).collect();
        assert!(services.is_empty(), "{member} depends on {services:?}");
    }
    Ok(())
}

#[test]
fn the_contracts_depend_on_nothing_of_ours() -> anyhow::Result<()> {
    let members = members()?;
    let proto = members.iter().find(|(member, _)| member == "bulkhead-proto").context("bulkhead-proto")?;
    assert_eq!(proto.1, Vec::<String>::new());
    Ok(())
}
