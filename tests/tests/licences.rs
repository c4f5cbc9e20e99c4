//! Nothing that is built into Bulkhead has a licence beyond those that `deny.toml` allows.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

/// Whether an SPDX expression can be satisfied with the allowed licences. Understands what the crates of this
/// workspace use: `OR`, `AND`, `/` for `OR`, and parentheses around one of the two.
fn allowed(expression: &str, licences: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let parts = top_level(&expression, " AND ");
    if parts.len() > 1 {
        return parts.iter().all(|part| allowed(part, licences));
    }
    let parts = top_level(&expression, " OR ");
    if parts.len() > 1 {
        return parts.iter().any(|part| allowed(part, licences));
    }
    let term = expression.trim();
    match term.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => allowed(inner, licences),
        None => licences.contains(term),
    }
}

/// Splits at a separator that stands outside parentheses.
fn top_level(expression: &str, separator: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_i32;
    let mut rest = expression;
    while let Some(character) = rest.chars().next() {
        if depth == 0 && rest.starts_with(separator) {
            parts.push(String::new());
            rest = &rest[separator.len()..];
            continue;
        }
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    parts
}

#[test]
fn every_dependency_has_an_allowed_licence() -> anyhow::Result<()> {
    let rules: toml::Table = toml::from_str(include_str!("../../deny.toml"))?;
    let list = rules["licenses"]["allow"].as_array().context("licenses.allow")?;
    let licences: BTreeSet<String> = list.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect();
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    assert!(packages.len() > 200, "only {} packages", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !allowed(package["license"].as_str().unwrap_or("none"), &licences))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    Ok(())
}

#[test]
fn an_expression_is_allowed_only_if_it_can_be_satisfied() {
    let licences = ["MIT", "Apache-2.0"].map(str::to_owned).into();
    for expression in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(MIT OR GPL-3.0) AND Apache-2.0"] {
        assert!(allowed(expression, &licences), "{expression}");
    }
    for expression in ["GPL-3.0", "MIT AND GPL-3.0", "none", "(GPL-3.0 OR LGPL-3.0) AND MIT"] {
        assert!(!allowed(expression, &licences), "{expression}");
    }
}
