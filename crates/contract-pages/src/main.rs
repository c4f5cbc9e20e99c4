//! Writes `docs/contract/`.

use std::fs;

use anyhow::Context as _;
use bulkhead_contract_pages::{folder, pages};

fn main() -> anyhow::Result<()> {
    for page in pages()? {
        let path = folder().join(&page.name);
        fs::write(&path, page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
