//! Which paths are known to hold what. Pure.

use crate::tool::SensitivityLabel;

/// File names that hold credentials wherever they are met. A rule that matches too much keeps a result
/// local; one that matches too little sends a key to a stranger.
const CREDENTIAL_PATTERNS: [&str; 18] = [
    ".env",
    ".env.*",
    "*.env",
    "id_*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.kdbx",
    "*credentials*",
    "*secret*",
    ".netrc",
    ".pgpass",
    ".npmrc",
    ".htpasswd",
    ".ssh/*",
    "*/.ssh/*",
];

/// One rule: a pattern and what it says of the files that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    pattern: Vec<char>,
    whole_path: bool,
    sensitivity: SensitivityLabel,
}

/// All rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(Vec<LabelRule>);

impl LabelRule {
    /// A rule. `*` stands for any run of characters, `/` included, `?` for one. A pattern with a `/` is held
    /// against the path below the root, any other against the file's name; case does not count.
    #[must_use]
    pub fn new(pattern: &str, sensitivity: SensitivityLabel) -> Self {
        Self { pattern: fold(pattern), whole_path: pattern.contains('/'), sensitivity }
    }

    fn matches(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        matches(&self.pattern, &fold(if self.whole_path { path } else { name }))
    }
}

impl Labels {
    /// These rules and no others.
    #[must_use]
    pub fn new(rules: Vec<LabelRule>) -> Self {
        Self(rules)
    }

    /// The rules that hold where the configuration has none: names that usually mean credentials.
    #[must_use]
    pub fn built_in() -> Self {
        let rule = |pattern| LabelRule::new(pattern, SensitivityLabel::Credentials);
        Self(CREDENTIAL_PATTERNS.into_iter().map(rule).collect())
    }

    /// What the file at `path`, below its root, is known to contain; each category once.
    #[must_use]
    pub fn of(&self, path: &str) -> Vec<SensitivityLabel> {
        let mut labels: Vec<_> =
            self.0.iter().filter(|rule| rule.matches(path)).map(|rule| rule.sensitivity).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

fn fold(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Glob matching in linear space and at most quadratic time: on a mismatch only the latest `*` takes more.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || text.get(from) == Some(wanted) => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                from = taken + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_rules_know_credentials_by_name() {
        let labelled = [
            ".env",
            "prod.env",
            ".env.local",
            "a/b/.ENV",
            "id_rsa",
            "keys/ID_ED25519",
            "x.PEM",
            "tls.key",
            "aws-credentials.json",
            "my_secret.txt",
            ".ssh/config",
            "home/.ssh/known_hosts",
        ];
        for path in labelled {
            assert_eq!(Labels::built_in().of(path), [SensitivityLabel::Credentials], "{path}");
        }
        for path in ["notes.md", "environment.md", "idea.txt", "pem", "env", "src/key.rs", "a.env/readme"] {
            assert_eq!(Labels::built_in().of(path), [], "{path}");
        }
    }

    #[test]
    fn a_pattern_with_a_slash_is_held_against_the_whole_path() {
        let rules = Labels::new(vec![LabelRule::new("clients/*", SensitivityLabel::PersonalData)]);
        assert_eq!(rules.of("Clients/2026/ada.txt"), [SensitivityLabel::PersonalData]);
        assert_eq!(rules.of("old/clients/ada.txt"), []);
    }

    #[test]
    fn categories_are_told_once_each() {
        let rules = Labels::new(vec![
            LabelRule::new("*.txt", SensitivityLabel::Health),
            LabelRule::new("?.txt", SensitivityLabel::Health),
            LabelRule::new("*", SensitivityLabel::Credentials),
        ]);
        assert_eq!(rules.of("a.txt"), [SensitivityLabel::Credentials, SensitivityLabel::Health]);
    }

    #[test]
    fn globs_backtrack_and_end() {
        let glob = |pattern: &str, text: &str| matches(&fold(pattern), &fold(text));
        assert!(glob("*a*b*c", "xxaxxbxbxc"));
        assert!(!glob("*a*b*c", "xxaxxbxbx"));
        assert!(glob("a**", "a"));
        assert!(!glob("", "a"));
        assert!(!glob("*a*a*a*a*a*b", &"a".repeat(5_000)));
    }
}
