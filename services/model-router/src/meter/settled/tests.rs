use super::*;

fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, ..Usage::default() }
}

fn attempt(usage: Option<Usage>, failure: Option<(Kind, u16)>) -> Attempt {
    let failure =
        failure.map(|(kind, http_status)| Failure { http_status, ..Failure::without_response(kind, "") });
    Attempt { usage, failure, ..Attempt::default() }
}

#[test]
fn an_attempt_is_settled_by_what_is_known_of_it() {
    let known = usage(100, 7);
    let counted = Some(usage(120, 30));
    let cases = [
        (counted, None, usage(120, 30), false),
        (counted, Some((Kind::Unfit, 200)), usage(120, 30), false),
        // A server that does not count.
        (Some(usage(0, 0)), None, known, true),
        (None, Some((Kind::RateLimited, 429)), usage(0, 0), false),
        (None, Some((Kind::InvalidRequest, 400)), usage(0, 0), false),
        (None, Some((Kind::Connect, 0)), usage(0, 0), false),
        // Nobody knows whether the provider did the work, or it did and nobody can use it.
        (None, Some((Kind::Silence, 0)), known, true),
        (None, Some((Kind::Reset, 0)), known, true),
        (None, Some((Kind::Malformed, 200)), known, true),
        // The stream broke off.
        (Some(usage(120, 1)), Some((Kind::Reset, 200)), usage(120, 7), true),
    ];
    for (counted, failure, usage, is_estimate) in cases {
        let expected = Settled { usage, is_estimate };
        assert_eq!(settled(known, &attempt(counted, failure)), expected, "{counted:?} {failure:?}");
    }
}

#[test]
fn what_is_to_be_kept_in_a_cache_is_taken_for_new_there_where_that_is_dearer() {
    let size = Size { prompt_tokens: 100, cached_tokens: 60, answer_tokens_max: None };
    let cases = [(None, 100), (Some(1), 100), (Some(2), 60 * 2 + 40), (Some(0), 100)];
    for (cache_creation, cost) in cases {
        let micros = |dollars: u64| dollars * 1_000_000;
        let price = Price {
            input_usd_micros: micros(1),
            output_usd_micros: micros(9),
            cache_read_usd_micros: Some(0),
            cache_creation_usd_micros: cache_creation.map(micros),
        };
        assert_eq!(price.cost_usd_micros(prompt_usage(size, Some(price))), cost, "{cache_creation:?}");
    }
    assert_eq!(prompt_usage(size, None), usage(100, 0));
}

#[test]
fn only_a_model_that_has_too_much_lowers_its_limit() {
    for kind in [Kind::RateLimited, Kind::Overloaded] {
        assert_eq!(sign(Some(&Failure::without_response(kind, ""))), Sign::TooMuch);
    }
    for kind in [Kind::ServerError, Kind::Silence, Kind::Connect, Kind::InvalidRequest] {
        assert_eq!(sign(Some(&Failure::without_response(kind, ""))), Sign::None);
    }
    assert_eq!(sign(None), Sign::Answered);
}
