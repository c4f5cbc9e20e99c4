//! What a file becomes when something is added to its end, found out in one reading of it; and what a person
//! is shown of that. Large files are read in pieces: only their last lines are kept.

use std::io::Read;

use sha2::{Digest as _, Sha256};

use super::beneath;
use super::fault::FileError;
use super::preview::{self, Content, PREVIEW_BYTES_MAX, Text};

/// Lines that are shown before the added ones, as `diff -u` does.
const CONTEXT_LINES: usize = 3;

/// Longest end that is looked at for them. A last line that is longer is not shown.
const END_BYTES_MAX: usize = 16 << 10;

/// A file before and after, with neither text in full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grown {
    /// As it is.
    pub(crate) before: Content,
    /// As it would be.
    pub(crate) after: Content,
    /// None: it has no end that can be shown.
    end: Option<End>,
}

/// The last lines of a file.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// How many lines come before them.
    lines_before: u64,
    /// At most [`CONTEXT_LINES`] whole lines, and one that has no end yet.
    text: String,
}

/// Reads `file`, which may have `bytes_max` bytes, as if `addition` came after it.
pub(crate) fn read(file: impl Read, bytes_max: u64, addition: &str) -> Result<Grown, FileError> {
    let (mut hash, mut lines, mut nul, mut tail) = (Sha256::new(), 0_u64, false, Vec::new());
    let bytes = beneath::chunks(file, bytes_max, |chunk, _| {
        hash.update(chunk);
        lines += chunk.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
        nul = nul || chunk.contains(&0);
        tail.extend_from_slice(chunk);
        tail.drain(..tail.len().saturating_sub(END_BYTES_MAX));
    })?;
    let whole = u64::try_from(tail.len()).is_ok_and(|kept| kept == bytes);
    let end = if nul { None } else { End::of(&tail, whole, lines) };
    let text = || if end.is_none() { Text::Binary } else { Text::Large };
    let before = Content { bytes, sha256: hex::encode(hash.clone().finalize()), text: text() };
    hash.update(addition);
    let added = u64::try_from(addition.len()).unwrap_or(u64::MAX);
    let bytes = bytes.saturating_add(added);
    let after = Content { bytes, sha256: hex::encode(hash.finalize()), text: text() };
    Ok(Grown { before, after, end })
}

impl End {
    /// `tail` is the end of a file with `breaks` line breaks, and perhaps the `whole` of it.
    fn of(tail: &[u8], whole: bool, breaks: u64) -> Option<Self> {
        let lines: Vec<&[u8]> =
            tail.split_inclusive(|byte| *byte == b'\n').skip(usize::from(!whole)).collect();
        if lines.is_empty() && !whole {
            return None;
        }
        let open = usize::from(lines.last().is_some_and(|line| !line.ends_with(b"\n")));
        let shown = lines.len().min(CONTEXT_LINES + open);
        let text = String::from_utf8(lines.get(lines.len() - shown..)?.concat()).ok()?;
        let all = breaks + u64::try_from(open).ok()?;
        Some(Self { lines_before: all - u64::try_from(shown).ok()?, text })
    }
}

/// A unified diff that adds lines at the end, or none when it is too large to be reviewed. Pure.
pub(crate) fn complete(target: &str, grown: &Grown, addition: &str) -> Option<String> {
    let preview = match &grown.end {
        Some(end) => diff(target, end, addition),
        None => {
            let summary = preview::summary(Some(&grown.before), Some(&grown.after));
            let added: String = addition.split_inclusive('\n').map(|text| line('+', text)).collect();
            format!("{summary}added at the end:\n{added}")
        }
    };
    (preview.len() <= PREVIEW_BYTES_MAX).then_some(preview)
}

fn diff(target: &str, end: &End, addition: &str) -> String {
    let grown = format!("{}{addition}", end.text);
    let (old, new): (Vec<_>, Vec<_>) =
        (end.text.split_inclusive('\n').collect(), grown.split_inclusive('\n').collect());
    // A last line without its end goes on, and is another line then.
    let same = old.iter().filter(|line| line.ends_with('\n')).count();
    let lines = |sign: char, lines: &[&str], skip: usize, take: usize| -> String {
        lines.iter().skip(skip).take(take).map(|text| line(sign, text)).collect()
    };
    let (was, becomes) = (range(end.lines_before, old.len()), range(end.lines_before, new.len()));
    let context = lines(' ', &old, 0, same);
    let gone = lines('-', &old, same, usize::MAX);
    let come = lines('+', &new, same, usize::MAX);
    format!("--- {target}\n+++ {target}\n@@ -{was} +{becomes} @@\n{context}{gone}{come}")
}

fn line(sign: char, text: &str) -> String {
    let end = if text.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
    format!("{sign}{text}{end}")
}

fn range(lines_before: u64, count: usize) -> String {
    match count {
        0 => format!("{lines_before},0"),
        1 => format!("{}", lines_before + 1),
        count => format!("{},{count}", lines_before + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(old: &[u8], addition: &str) -> Grown {
        read(old, u64::MAX, addition).expect("reads")
    }

    fn shown(old: &str, addition: &str) -> String {
        complete("w/a", &grown(old.as_bytes(), addition), addition).expect("small")
    }

    #[test]
    fn added_lines_are_shown_after_three_of_context() {
        let expected = "--- w/a\n+++ w/a\n@@ -3,3 +3,5 @@\n 3\n 4\n 5\n+six\n+7\n";
        assert_eq!(shown("1\n2\n3\n4\n5\n", "six\n7\n"), expected);
        assert_eq!(shown("", "one\n"), "--- w/a\n+++ w/a\n@@ -0,0 +1 @@\n+one\n");
        let open = "--- w/a\n+++ w/a\n@@ -1,2 +1,2 @@\n 1\n-2\n\\ No newline at end of file\n+2 and more\n";
        assert_eq!(shown("1\n2", " and more\n"), open);
    }

    #[test]
    fn the_diff_is_the_one_that_a_comparison_of_both_texts_finds() {
        for lines in [0, 1, 2, 3, 4, 9, 10_000] {
            let old: String = (0..lines).map(|line| format!("line {line}\n")).collect();
            let whole = |text: &str| Content::of(text.as_bytes());
            for addition in ["x\n", "x", "x\n\ny\n", "line 0\n", "Grüße\n"] {
                let new = format!("{old}{addition}");
                let compared = preview::complete("w/a", Some(&whole(&old)), Some(&whole(&new)));
                assert_eq!(Some(shown(&old, addition)), compared, "{lines} lines and {addition:?}");
            }
        }
    }

    #[test]
    fn hashes_and_sizes_are_those_of_both_texts() {
        let (old, addition) = ("long line ".repeat(20_000), "end\n");
        let grown = grown(old.as_bytes(), addition);
        let after = Content::of(format!("{old}{addition}").as_bytes());
        assert_eq!((grown.after.sha256, grown.after.bytes), (after.sha256, after.bytes));
        assert_eq!(grown.before.sha256, Content::of(old.as_bytes()).sha256);
    }

    #[test]
    fn an_end_that_cannot_be_shown_is_told_by_size_and_hash_and_what_is_added_is_shown() {
        for old in [vec![b'x'; 3 * END_BYTES_MAX], vec![0, 159, b'\n'], b"ok\nlatin \xe9\n".to_vec()] {
            let told = complete("w/a", &grown(&old, "new\n"), "new\n").expect("small");
            assert!(told.contains(&format!("{} bytes, sha256 ", old.len())), "{told}");
            assert!(told.ends_with("added at the end:\n+new\n"), "{told}");
        }
    }

    #[test]
    fn no_preview_is_cut_and_no_size_is_believed() {
        let large = "line\n".repeat(PREVIEW_BYTES_MAX / 5);
        assert_eq!(complete("w/a", &grown(b"", &large), &large), None);
        let error = read(&b"four"[..], 3, "x").expect_err("too large");
        assert!(matches!(error, FileError::TooLarge { bytes: 4, max: 3 }), "{error:?}");
    }
}
