//! What attempts are taken to have used, and what their end says of how much the model can take. Pure.

use crate::attempt::Attempt;
use crate::chat::Usage;
use crate::failure::{Failure, Kind, Persistence};
use crate::limit::concurrency::Sign;
use crate::price::Price;
use crate::tokens::Size;

/// What a prompt is taken for until its provider has counted it: of what is to be kept in a cache nobody knows here what is
/// there already, so all of it is taken for new where that is dearer.
pub(super) fn prompt_usage(size: Size, price: Option<Price>) -> Usage {
    let is_dearer = price.is_some_and(|price| price.cache_creation_usd_micros > Some(price.input_usd_micros));
    let cache_creation_input_tokens = if is_dearer { size.cached_tokens } else { 0 };
    Usage { input_tokens: size.prompt_tokens, cache_creation_input_tokens, ..Usage::default() }
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) usage: Usage,
    /// The provider did not count all of it.
    pub(super) is_estimate: bool,
}

/// By what the provider counted, or else by what is known of it.
pub(super) fn settled(known: Usage, attempt: &Attempt) -> Settled {
    let counted = attempt.usage.filter(|usage| usage.input_tokens > 0 || usage.output_tokens > 0);
    let (usage, is_estimate) = match (counted, &attempt.failure) {
        (Some(usage), None) => (usage, false),
        // The whole answer came, and will not do.
        (Some(usage), Some(Failure { kind: Kind::Unfit | Kind::Refusal, .. })) => (usage, false),
        // A stream that breaks off has not come to its count of the answer.
        (Some(usage), Some(_)) => {
            (Usage { output_tokens: usage.output_tokens.max(known.output_tokens), ..usage }, true)
        }
        (None, Some(failure)) if !may_have_worked(failure) => (Usage::default(), false),
        (None, _) => (known, true),
    };
    Settled { usage, is_estimate }
}

/// Whether the provider may have worked for an attempt that failed.
fn may_have_worked(failure: &Failure) -> bool {
    (200..300).contains(&failure.http_status) || failure.kind.persistence() == Persistence::Unknown
}

/// What the end of an attempt says of how much the model can take at a time.
pub(super) fn sign(failure: Option<&Failure>) -> Sign {
    match failure.map(|failure| failure.kind) {
        None => Sign::Answered,
        Some(Kind::RateLimited | Kind::Overloaded) => Sign::TooMuch,
        Some(_) => Sign::None,
    }
}

#[cfg(test)]
mod tests;
