use super::*;

#[test]
fn the_advice_grows_with_who_was_turned_away_and_never_beyond_its_bound() {
    let millis = |turned_away, chance| retry_delay(turned_away, 10, chance).as_millis();
    let rows = [(0, 0.0, 125), (0, 1.0, 250), (9, 1.0, 250), (10, 1.0, 500), (100, 0.0, 1_375)];
    for (turned_away, chance, expected) in rows {
        assert_eq!(millis(turned_away, chance), expected, "{turned_away} {chance}");
    }
    assert_eq!(millis(usize::MAX, 1.0), 30_000);
    assert_eq!(retry_delay(7, 0, 0.5).as_millis(), 1_500, "no places at all is no division by zero");
}
