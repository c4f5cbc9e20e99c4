//! What a person is shown before a file changes. Pure.

use similar::TextDiff;

/// Largest preview, in bytes. Nobody reviews more than some thousand lines in one piece.
pub(crate) const PREVIEW_BYTES_MAX: usize = 256 << 10;

/// Content of a file, as far as a preview needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Size.
    pub(crate) bytes: u64,
    /// 64 hex digits.
    pub(crate) sha256: String,
    /// The text itself, where it is text.
    pub(crate) text: Text,
}

/// Whether content can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text {
    /// It can.
    Shown(String),
    /// It is not UTF-8, or has NUL bytes.
    Binary,
    /// It was not kept in memory, being larger than any preview.
    Large,
}

impl Content {
    /// Of bytes in memory.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { bytes: length, sha256: bulkhead_canonical_json::sha256_hex(bytes), text: Text::of(bytes) }
    }

    fn line(&self) -> String {
        let kind = if self.text == Text::Binary { "binary" } else { "text" };
        format!("{kind}, {} bytes, sha256 {}", self.bytes, self.sha256)
    }
}

impl Text {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Self::Shown(text.to_owned()),
            _ => Self::Binary,
        }
    }
}

/// The complete preview of a change, or none when it is too large to be reviewed.
pub(crate) fn complete(target: &str, before: Option<&Content>, after: Option<&Content>) -> Option<String> {
    let preview = match (shown(before)?, shown(after)?) {
        (Some(old), Some(new)) => diff(target, before.is_some(), after.is_some(), old, new),
        (None, Some(new)) if after.is_some() => summary(before, after) + &diff(target, true, true, "", new),
        _ => summary(before, after),
    };
    (preview.len() <= PREVIEW_BYTES_MAX).then_some(preview)
}

/// One line a side, with sizes and hashes.
pub(crate) fn summary(before: Option<&Content>, after: Option<&Content>) -> String {
    let line = |side: Option<&Content>| side.map_or_else(|| "nothing".to_owned(), Content::line);
    format!("content not shown\nbefore: {}\nafter: {}\n", line(before), line(after))
}

/// The text of a side: none for binary, empty for nothing. Fails for what is too large to be shown.
fn shown(side: Option<&Content>) -> Option<Option<&str>> {
    match side.map(|content| &content.text) {
        None => Some(Some("")),
        Some(Text::Shown(text)) => Some(Some(text)),
        Some(Text::Binary) => Some(None),
        Some(Text::Large) => None,
    }
}

fn diff(target: &str, was: bool, will_be: bool, old: &str, new: &str) -> String {
    if was && will_be && old == new {
        return format!("{target}: the content stays as it is\n");
    }
    let side = |exists: bool| if exists { target } else { "/dev/null" };
    let body = TextDiff::from_lines(old, new).unified_diff().header(side(was), side(will_be)).to_string();
    // An empty file has no lines to add or to take away; the header alone says what happens.
    if body.is_empty() { format!("--- {}\n+++ {}\n", side(was), side(will_be)) } else { body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Content {
        Content::of(text.as_bytes())
    }

    #[test]
    fn text_is_shown_as_a_unified_diff() {
        let preview = complete("w/a.md", Some(&of("one\ntwo\n")), Some(&of("one\n2\n"))).expect("small");
        assert_eq!(preview, "--- w/a.md\n+++ w/a.md\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n");
    }

    #[test]
    fn creating_and_deleting_show_every_line() {
        let created = complete("w/a", None, Some(&of("x\ny"))).expect("small");
        assert_eq!(
            created,
            "--- /dev/null\n+++ w/a\n@@ -0,0 +1,2 @@\n+x\n+y\n\\ No newline at end of file\n"
        );
        let deleted = complete("w/a", Some(&of("x\n")), None).expect("small");
        assert_eq!(deleted, "--- w/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n");
        assert_eq!(complete("w/a", None, Some(&of(""))).expect("small"), "--- /dev/null\n+++ w/a\n");
    }

    #[test]
    fn binary_content_is_told_by_size_and_hash_and_new_text_beside_it_is_shown() {
        let binary = Content::of(&[0, 159, 146, 150]);
        let deleted = complete("w/a", Some(&binary), None).expect("small");
        assert!(deleted.contains("before: binary, 4 bytes, sha256 "), "{deleted}");
        let replaced = complete("w/a", Some(&binary), Some(&of("new\n"))).expect("small");
        assert!(replaced.contains("before: binary, 4 bytes") && replaced.contains("\n+new\n"), "{replaced}");
    }

    #[test]
    fn no_preview_is_ever_cut() {
        let large = of(&"line\n".repeat(PREVIEW_BYTES_MAX / 5));
        assert_eq!(complete("w/a", None, Some(&large)), None);
        let unread = Content { bytes: 1 << 40, sha256: "0".repeat(64), text: Text::Large };
        assert_eq!(complete("w/a", Some(&unread), Some(&of("x"))), None);
    }

    #[test]
    fn unchanged_content_is_said_to_stay() {
        assert_eq!(
            complete("w/a", Some(&of("x")), Some(&of("x"))).as_deref(),
            Some("w/a: the content stays as it is\n")
        );
    }
}
