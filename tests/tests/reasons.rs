//! The table of error reasons against the code: no reason without a row, no row without a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bulkhead_proto::reasons::SECTIONS;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprCall, ExprLit, ExprMethodCall, ExprTuple, ItemMod, Lit, Macro};

/// Where a reason is a variable: `Violations` makes every INVALID_ARGUMENT from the reason of `finish_as`.
const FROM_A_VARIABLE: [&str; 1] = ["crates/edge/src/violations.rs"];
/// Where an `ErrorInfo` is put together; everybody else goes through these.
const MAKERS: [&str; 2] = ["crates/edge/src/fault.rs", "proto/src/codec.rs"];

/// Every reason with its codes, as the sources make them.
#[derive(Default)]
struct Made {
    file: String,
    pairs: BTreeMap<String, BTreeSet<String>>,
    /// What this test cannot read, and nobody should write.
    unreadable: Vec<String>,
}

impl Made {
    fn add(&mut self, code: &str, reason: String) {
        self.pairs.entry(reason).or_default().insert(code.to_owned());
    }

    fn complain(&mut self, what: &str) {
        self.unreadable.push(format!("{}: {what}", self.file));
    }

    /// `Fault::new(Code::X, "REASON")`.
    fn fault(&mut self, code: &Expr, reason: &Expr) {
        match (code_of(code), text(reason)) {
            (Some(code), Some(reason)) => self.add(&code, reason),
            _ if FROM_A_VARIABLE.contains(&self.file.as_str()) => {}
            _ => self.complain("a fault whose code or reason is no literal"),
        }
    }
}

impl<'ast> Visit<'ast> for Made {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !module.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        let path = path_of(&call.func);
        let arguments: Vec<&Expr> = call.args.iter().collect();
        match (path.as_str(), arguments.as_slice()) {
            (path, [code, reason]) if path.ends_with("Fault::new") => self.fault(code, reason),
            ("Self::new", [code, reason]) if code_of(code).is_some() => self.fault(code, reason),
            (path, _)
                if (path.ends_with("with_error_info") || path.ends_with("ErrorInfo::new"))
                    && !MAKERS.contains(&self.file.as_str()) =>
            {
                self.complain("an ErrorInfo made by hand; use Fault");
            }
            _ => {}
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if let Some(reason) = call.args.first().and_then(text).filter(|_| call.method == "finish_as") {
            self.add("InvalidArgument", reason);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_tuple(&mut self, tuple: &'ast ExprTuple) {
        let parts: Vec<&Expr> = tuple.elems.iter().collect();
        if let [code, reason] = parts.as_slice()
            && let (Some(code), Some(reason)) = (code_of(code), text(reason))
        {
            self.add(&code, reason);
        }
        visit::visit_expr_tuple(self, tuple);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if call.tokens.to_string().contains("Fault :: new") {
            self.complain("a fault inside a macro");
        }
    }
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}

fn path_of(expression: &Expr) -> String {
    let Expr::Path(path) = expression else { return String::new() };
    let segments: Vec<_> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    segments.join("::")
}

fn code_of(expression: &Expr) -> Option<String> {
    let path = path_of(expression);
    path.strip_prefix("tonic::").unwrap_or(&path).strip_prefix("Code::").map(str::to_owned)
}

fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source file that is no test.
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

fn made() -> anyhow::Result<Made> {
    let (mut files, mut made) = (Vec::new(), Made::default());
    for folder in ["proto", "crates", "services"] {
        sources(&root().join(folder), &mut files)?;
    }
    assert!(files.len() >= 150, "only {} sources", files.len());
    for path in files {
        let code =
            syn::parse_file(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
        made.file = path.strip_prefix(root())?.to_string_lossy().replace('\\', "/");
        made.visit_file(&code);
    }
    Ok(made)
}

#[test]
fn every_reason_in_the_code_has_its_row_and_every_row_its_code() -> anyhow::Result<()> {
    let made = made()?;
    assert!(made.unreadable.is_empty(), "{:#?}", made.unreadable);
    let rows = SECTIONS.iter().flat_map(|section| section.reasons);
    let rows: BTreeMap<String, BTreeSet<String>> = rows
        .map(|row| (row.name.to_owned(), row.codes.iter().map(|code| format!("{code:?}")).collect()))
        .collect();
    let missing: Vec<_> = made.pairs.iter().filter(|(name, codes)| rows.get(*name) != Some(codes)).collect();
    assert!(missing.is_empty(), "proto/src/reasons/ has no such row: {missing:#?}");
    let unused: Vec<_> = rows.iter().filter(|(name, codes)| made.pairs.get(*name) != Some(codes)).collect();
    assert!(unused.is_empty(), "no code makes these: {unused:#?}");
    Ok(())
}
