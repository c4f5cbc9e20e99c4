//! Every reason.

use bulkhead_proto::reasons::{Origin, Reason, SECTIONS, Section};
use tonic::Code;

use super::WRITTEN;
use crate::Page;

const INTRODUCTION: &str = "\
Every error has a canonical gRPC code, exactly one `google.rpc.ErrorInfo` with a stable `reason` (domain
`bulkhead`) and every variable part in its metadata, a `RetryInfo` where waiting helps, and a `BadRequest` that
names every wrong field where the request was wrong. Messages are for people and may change; reasons do not.

**Happened** says whether what the call was for (an effect, a stored change, a model's answer) took place: *no*
is certain, *yes* means that only the answer is missing, and after *unknown* the same `request_id`, sent again,
finds out and never acts twice. **Retry** says whether asking again helps: the *same request* keeps its
`request_id`; *after waiting* means the delay of the `RetryInfo`.

A tool that fails is no error of this kind: its result says what failed ([tool errors](../tool-errors.md)).
";

pub(crate) fn page() -> Page {
    let sections: String = SECTIONS.iter().map(section).collect();
    Page { name: "errors.md".to_owned(), text: format!("# Errors\n{WRITTEN}\n{INTRODUCTION}{sections}") }
}

fn section(section: &Section) -> String {
    let told = match section.origin {
        Origin::Edge => "What every call passes through may answer these to any RPC; no RPC lists them.",
        Origin::Service => "An RPC that may answer one of these lists it on its page.",
    };
    let rows: String = section.reasons.iter().map(row).collect();
    format!("\n## {}\n{told}\n\n{HEAD}{rows}", section.title)
}

const HEAD: &str = "\
| reason | code | meaning | happened | retry | what to do | metadata |
|---|---|---|---|---|---|---|
";

fn row(reason: &Reason) -> String {
    let Reason { name, meaning, advice, .. } = reason;
    let codes = listed(reason.codes.iter().map(|code| code_name(*code)));
    let metadata = listed(reason.metadata.iter().copied().map(str::to_owned));
    let (happened, retry) = (reason.happened.as_str(), reason.retry.as_str());
    let anchor = name.to_lowercase();
    format!(
        "| <a id=\"{anchor}\"></a>`{name}` | {codes} | {meaning} | {happened} | {retry} | {advice} | {metadata} |\n"
    )
}

fn listed(words: impl Iterator<Item = String>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// `INVALID_ARGUMENT`, as gRPC writes it.
pub(super) fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
