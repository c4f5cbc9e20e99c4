//! What somebody may have meant.

/// The known key that is nearest to `unknown`, if it is near: at most a third of its letters differ.
pub(super) fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    let distances = known.iter().map(|key| (strsim::damerau_levenshtein(unknown, key), *key));
    let near = distances.filter(|(distance, key)| *distance <= (key.chars().count() / 3).max(1));
    near.min().map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["listen", "tokens", "unary_timeout_ms", "unary_timeout_ms_max"];
        let cases = [
            ("listn", Some("listen")),
            ("lsiten", Some("listen")),
            ("unary_timeout", Some("unary_timeout_ms")),
            ("password", None),
            ("x", None),
        ];
        for (unknown, expected) in cases {
            assert_eq!(nearest(unknown, &known), expected, "{unknown}");
        }
    }
}
