//! All that is wrong with a request, told at once.

use std::fmt::Display;
use std::str::FromStr;

use tonic::Code;
use uuid::Uuid;

use crate::Fault;

/// Bytes of fields and descriptions that one answer carries. They travel in the trailers, of which clients take
/// 8 KiB by default, a third larger for their encoding.
const BYTES_MAX: usize = 3_072;
/// Fields that the message for people names.
const NAMED_MAX: usize = 8;

/// Collects field violations. Each `require` style method reports and returns a usable value or none, so a
/// conversion goes on to the end and the caller learns of every mistake in one answer; of very many, of the first that fit.
#[derive(Debug, Default)]
pub struct Violations(Vec<(String, String)>);

impl Violations {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that `field` is wrong; `description` says what would be right.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push((field.into(), description.into()));
    }

    /// Records a violation unless `holds`.
    pub fn require(&mut self, holds: bool, field: &str, description: impl Into<String>) {
        if !holds {
            self.add(field, description);
        }
    }

    /// The same for a field whose name has to be put together, which is done only where it is told.
    pub fn require_at(
        &mut self,
        holds: bool,
        field: impl FnOnce() -> String,
        description: impl Into<String>,
    ) {
        if !holds {
            self.add(field(), description);
        }
    }

    /// Takes over what was found in a message inside of `field`.
    pub fn add_within(&mut self, field: &str, inner: Self) {
        self.0
            .extend(inner.0.into_iter().map(|(part, description)| (format!("{field}.{part}"), description)));
    }

    /// Parses a field, or records what the parser expected.
    pub fn parse<T: FromStr>(&mut self, field: &str, text: &str, expected: &str) -> Option<T>
    where
        T::Err: Display,
    {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(field, format!("must be {expected}: {error}"));
                None
            }
        }
    }

    /// A UUID that is required.
    pub fn uuid(&mut self, field: &str, text: &str) -> Option<Uuid> {
        self.parse(field, text, "a UUID such as 0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a55")
    }

    /// An identifier of the run context: empty, or up to 128 characters of `[A-Za-z0-9._:-]`.
    pub fn context_id(&mut self, field: &str, text: &str) {
        let fits = text.len() <= 128
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-'));
        self.require(fits, field, "must be at most 128 characters of [A-Za-z0-9._:-]");
    }

    /// Whether anything was wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends a conversion: the value if nothing was wrong, else one INVALID_ARGUMENT (`INVALID_REQUEST`) that
    /// names every field.
    ///
    /// # Errors
    /// The fault just described.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Fault> {
        self.finish_as("INVALID_REQUEST", value)
    }

    /// The same with a reason of its own, where the contract promises one.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with that reason, naming every field.
    pub fn finish_as<T>(mut self, reason: &'static str, value: Option<T>) -> Result<T, Fault> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) => Err(self.into_fault(reason)),
            None => {
                if self.0.is_empty() {
                    self.add("request", "is incomplete");
                }
                Err(self.into_fault(reason))
            }
        }
    }

    fn into_fault(self, reason: &'static str) -> Fault {
        let fields: Vec<&str> = self.0.iter().take(NAMED_MAX).map(|(field, _)| field.as_str()).collect();
        let more = self.0.len() - fields.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!("the request is not valid: {}{more}", fields.join(", "));
        let mut fault = Fault::new(Code::InvalidArgument, reason).saying(message);
        let (found, mut bytes, mut told) = (self.0.len(), 0, 0);
        for (field, description) in self.0 {
            bytes += field.len() + description.len();
            if bytes > BYTES_MAX {
                break;
            }
            fault = fault.violation(field, description);
            told += 1;
        }
        if told < found { fault.with("violations_left_out", found - told) } else { fault }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn what_is_wrong_inside_of_a_field_is_told_with_its_place() {
        let (mut outer, mut inner) = (Violations::new(), Violations::new());
        inner.add("messages[0].role", "must be USER or ASSISTANT");
        outer.add_within("generate", inner);
        let status = outer.finish(Some(())).expect_err("violations").into_status();
        let details = status.get_error_details();
        assert_eq!(
            details.bad_request().expect("one").field_violations[0].field,
            "generate.messages[0].role"
        );
    }

    #[test]
    fn an_answer_fits_into_the_trailers_whatever_is_wrong() {
        let mut violations = Violations::new();
        for at in 0..10_000 {
            violations.add(format!("messages[{at}].content"), "must have at least one block");
        }
        let status = violations.finish::<()>(None).expect_err("violations").into_status();
        assert!(
            status.details().len() * 4 / 3 + status.message().len() < 6_000,
            "{}",
            status.details().len()
        );
        let details = status.get_error_details();
        let told = details.bad_request().expect("violations").field_violations.len();
        let left_out = &details.error_info().expect("a reason").metadata["violations_left_out"];
        assert_eq!(told + left_out.parse::<usize>().expect("a number"), 10_000);
    }
}
