//! `docs/operations.md` against the code: a row for every reason of an error and every condition of readiness.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bulkhead_proto::reasons::SECTIONS;
use syn::visit::{self, Visit};
use syn::{Expr, ExprLit, ExprMethodCall, ItemConst, ItemMod, Lit};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> anyhow::Result<String> {
    fs::read_to_string(root().join(name)).with_context(|| name.to_owned())
}

/// What stands in backticks in the first column of the tables between two headings of the same level.
fn named(page: &str, heading: &str) -> Vec<String> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let first = rows.map(|row| format!("`{}", row.split(" | ").next().unwrap_or_default()));
    first.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn an_operator_is_told_what_to_do_about_every_reason() -> anyhow::Result<()> {
    let told = named(&page("docs/operations.md")?, "Errors");
    let once: BTreeSet<_> = told.iter().map(String::as_str).collect();
    assert_eq!(told.len(), once.len(), "a reason has two rows");
    let reasons = SECTIONS.iter().flat_map(|section| section.reasons).map(|reason| reason.name).collect();
    assert_eq!(once, reasons);
    Ok(())
}

/// Conditions that sources name, by their constants.
#[derive(Default)]
struct Conditions {
    constants: BTreeMap<String, String>,
    used: Vec<String>,
}

impl<'ast> Visit<'ast> for Conditions {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_const(&mut self, constant: &'ast ItemConst) {
        if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = constant.expr.as_ref() {
            self.constants.insert(constant.ident.to_string(), text.value());
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if call.method == "unmet"
            && let Some(Expr::Path(path)) = call.args.first()
            && let Some(last) = path.path.segments.last()
        {
            self.used.push(last.ident.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !["tests", "benches", "target"].contains(&name) {
            sources(&path, found)?;
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
    Ok(())
}

/// The conditions of one crate. A constant that a file uses stands in it or in another of the crate.
fn conditions(package: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut files = Vec::new();
    sources(&package.join("src"), &mut files)?;
    let (mut elsewhere, mut waiting, mut found) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    for file in files {
        let mut conditions = Conditions::default();
        conditions.visit_file(&syn::parse_file(&fs::read_to_string(&file)?)?);
        for name in conditions.used {
            match conditions.constants.get(&name) {
                Some(condition) => drop(found.insert(condition.clone())),
                None => waiting.push(name),
            }
        }
        elsewhere.extend(conditions.constants);
    }
    for name in waiting {
        let condition = elsewhere.get(&name).with_context(|| format!("{}: {name}", package.display()))?;
        found.insert(condition.clone());
    }
    Ok(found)
}

#[test]
fn an_operator_is_told_what_to_do_about_every_condition_of_readiness() -> anyhow::Result<()> {
    let mut found = BTreeSet::new();
    for folder in ["crates", "services"] {
        for package in fs::read_dir(root().join(folder))? {
            found.extend(conditions(&package?.path())?);
        }
    }
    let told: BTreeSet<_> = named(&page("docs/operations.md")?, "Readiness").into_iter().collect();
    assert_eq!(told, found);
    Ok(())
}
