//! Paths as agents may write them. Pure.

use std::fmt;

/// Longest path below a root, in bytes.
pub(crate) const PATH_BYTES_MAX: usize = 1_024;

/// Longest component, in bytes: what Linux file systems take.
const COMPONENT_BYTES_MAX: usize = 255;

/// The folder at the top of each root that holds undo copies. No path names it.
pub(crate) const RESERVED: &str = ".bulkhead";

/// A normalised path below a root: no `.`, no `..`, no empty component. No components: the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelPath(Vec<String>);

/// Why a text is no path below a root. Never repeats the text, which may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathProblem {
    #[error("is absolute; paths are relative to the root, such as notes/a.md")]
    Absolute,
    #[error("contains `..`; name the file from the root down")]
    Upwards,
    #[error("is longer than 1024 bytes, or a part of it is longer than 255")]
    TooLong,
    #[error("contains control characters or marks that hide how text reads")]
    Unprintable,
    #[error("names the folder .bulkhead, which is reserved for undo copies")]
    Reserved,
}

impl RelPath {
    /// Normalises `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, PathProblem> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathProblem::TooLong);
        }
        if text.chars().any(is_unprintable) {
            return Err(PathProblem::Unprintable);
        }
        if text.starts_with('/') {
            return Err(PathProblem::Absolute);
        }
        let components: Vec<_> =
            text.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect();
        check(&components)?;
        Ok(Self(components))
    }

    /// From the root down.
    pub(crate) fn components(&self) -> &[String] {
        &self.0
    }

    /// The folder's components and the name in it; none for the root itself.
    pub(crate) fn split(&self) -> Option<(&[String], &str)> {
        self.0.split_last().map(|(name, parents)| (parents, name.as_str()))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("/"))
    }
}

fn check(components: &[String]) -> Result<(), PathProblem> {
    if components.iter().any(|part| part == "..") {
        return Err(PathProblem::Upwards);
    }
    if components.iter().any(|part| part.len() > COMPONENT_BYTES_MAX) {
        return Err(PathProblem::TooLong);
    }
    // Case does not count, for the sake of file systems where it does not count either.
    match components.first() {
        Some(top) if top.to_lowercase() == RESERVED => Err(PathProblem::Reserved),
        _ => Ok(()),
    }
}

/// Control characters, and the marks of Unicode's bidirectional algorithm and zero-width characters: with
/// them a path on an approver's screen can read as another.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        let table = [
            ("notes/a.md", "notes/a.md"),
            ("./notes//a.md", "notes/a.md"),
            ("notes/./a.md/", "notes/a.md"),
            (".", ""),
            ("", ""),
            ("a/.bulkhead/b", "a/.bulkhead/b"),
            (".bulkheads", ".bulkheads"),
            ("..a/b..", "..a/b.."),
            ("Grüße/日本.txt", "Grüße/日本.txt"),
        ];
        for (text, path) in table {
            assert_eq!(RelPath::parse(text).expect("a path").to_string(), path, "{text:?}");
        }
    }

    #[test]
    fn what_could_leave_the_root_or_deceive_is_refused() {
        let long = "a/".repeat(600);
        let component = "a".repeat(256);
        let table = [
            ("/etc/passwd", PathProblem::Absolute),
            ("..", PathProblem::Upwards),
            ("a/../b", PathProblem::Upwards),
            ("a/..", PathProblem::Upwards),
            (long.as_str(), PathProblem::TooLong),
            (component.as_str(), PathProblem::TooLong),
            ("a\0b", PathProblem::Unprintable),
            ("a\nb", PathProblem::Unprintable),
            ("a\u{202e}dm.exe", PathProblem::Unprintable),
            (".bulk\u{200d}head/x", PathProblem::Unprintable),
            (".bulkhead", PathProblem::Reserved),
            ("./.bulkhead/undo/x", PathProblem::Reserved),
            (".BulkHead/x", PathProblem::Reserved),
            (".bul\u{212a}head/x", PathProblem::Reserved),
        ];
        for (text, problem) in table {
            assert_eq!(RelPath::parse(text), Err(problem), "{text:?}");
        }
    }
}
