//! The names in client certificates (SPIFFE-ID, sections 2.1 to 2.4).

/// Longest SPIFFE id that implementations must support, in bytes.
const BYTES_MAX: usize = 2_048;

/// Whether a text is a SPIFFE id with a path: the name of a workload, not of a whole trust domain.
pub(super) fn is_spiffe_id(text: &str) -> bool {
    let Some((domain, path)) = text.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    text.len() <= BYTES_MAX && is_trust_domain(domain) && path.split('/').all(is_segment)
}

fn is_trust_domain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(fits)
}

fn is_segment(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !matches!(text, "" | "." | "..") && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_workloads_are_names() {
        for good in ["spiffe://example.org/agent/scribe", "spiffe://e/A.b-c_1"] {
            assert!(is_spiffe_id(good), "{good}");
        }
        let bad = [
            "",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe:///a",
            "spiffe://Example.org/a",
            "spiffe://example.org/a/",
            "spiffe://example.org/a//b",
            "spiffe://example.org/../a",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/%61",
            "spiffe://user@example.org/a",
            "spiffe://example.org:80/a",
            "https://example.org/a",
            "SPIFFE://example.org/a",
        ];
        for bad in bad {
            assert!(!is_spiffe_id(bad), "{bad}");
        }
        assert!(!is_spiffe_id(&format!("spiffe://example.org/{}", "a".repeat(2_048))));
    }
}
