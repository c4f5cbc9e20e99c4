//! What should have gone on went on, and what should have stopped stopped with the stated error.

use bulkhead_proto::reasons;

use super::Verdicts;
use crate::chaos::evidence::Evidence;

pub(super) fn judge(evidence: &Evidence) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for look in &evidence.looks {
        verdicts.check(look.holds, || {
            format!(
                "{}: {} was to be {}, and was {}",
                look.fault,
                look.want.name(),
                look.expected,
                look.answer
            )
        });
    }
    for (answer, times) in &evidence.errors {
        verdicts.check(is_stated(answer), || {
            format!("{answer}, {times} time(s): the contract has no such answer")
        });
    }
    verdicts
}

/// Whether an answer is one that the contract has a row for, and no accident.
fn is_stated(answer: &str) -> bool {
    let mut words = answer.split(' ');
    let (code, reason) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    code != "INTERNAL" && reasons::find(reason).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_row_is_a_breach() {
        for (answer, stated) in [
            ("UNAVAILABLE STORE_UNAVAILABLE", true),
            ("UNAVAILABLE PEER_CONNECTION_LOST", true),
            ("INTERNAL INTERNAL", false),
            ("UNAVAILABLE", false),
            ("UNKNOWN SOMETHING_ELSE", false),
        ] {
            assert_eq!(is_stated(answer), stated, "{answer}");
        }
    }
}
