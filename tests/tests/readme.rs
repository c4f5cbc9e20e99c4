//! What the README shows is what runs.

use std::path::Path;

use anyhow::Context as _;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The lines of a file between its marks, as a reader of the README sees them.
fn region(path: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())?;
    let lines: Vec<_> = text.lines().collect();
    let mark = |end: &str| {
        lines.iter().position(|line| line.ends_with(end)).with_context(|| format!("{path}: {end}"))
    };
    let (begin, end) = (mark("README: begin")?, mark("README: end")?);
    Ok(lines[begin + 1..end].join("\n"))
}

/// The blocks of the README that name a file: path and text.
fn blocks(readme: &str) -> Vec<(String, String)> {
    let mut lines = readme.lines();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix("<!-- tests/clients/").and_then(|line| line.strip_suffix(" -->"))
        else {
            continue;
        };
        let text: Vec<_> = lines.by_ref().skip(1).take_while(|line| *line != "```").collect();
        blocks.push((format!("tests/clients/{path}"), text.join("\n")));
    }
    blocks
}

#[test]
fn each_client_in_the_readme_is_a_file_that_the_second_suite_runs() -> anyhow::Result<()> {
    let blocks = blocks(&std::fs::read_to_string(root().join("README.md"))?);
    let run = std::fs::read_to_string(root().join("tests/clients/run"))?;
    let paths: Vec<_> = blocks.iter().map(|(path, _)| path.as_str()).collect();
    let expected = [
        ("tests/clients/shell/commands.sh", "$here/shell/commands.sh"),
        ("tests/clients/shell/calls.sh", "$here/shell/calls.sh"),
        ("tests/clients/python/quickstart.py", "$here/python/quickstart.py"),
        ("tests/clients/rust/src/main.rs", "--package bulkhead-client-example"),
    ];
    assert_eq!(paths, expected.map(|(path, _)| path));
    for (path, runs) in expected {
        assert!(run.contains(runs), "tests/clients/run does not run {path}");
    }
    for (path, shown) in &blocks {
        assert_eq!(*shown, region(path)?, "the README does not show {path} as it is");
    }
    Ok(())
}
