//! What a stream sends when, with the fault that befalls it. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Bytes;

use crate::control::StreamBreak;
use crate::wire::{Frame, Part};

/// Neither UTF-8 nor JSON. The line ends make it an event of its own in both framings, so that a reader cannot take it
/// for one that is still incomplete.
const GARBAGE: &[u8] = b"data: }{ \xff\xfe no event\n\n";

/// Between two pings.
const PING_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of an endless event that are sent together.
const BLOAT_BYTES: usize = 4_096;

/// Pauses of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) first_after: Duration,
    pub(crate) pause: Duration,
}

/// A fault, and the pieces that come before it; none: half of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mishap {
    pub(crate) how: StreamBreak,
    pub(crate) after_pieces: Option<usize>,
    /// The event that tells of a failure, or keeps the connection alive, where the fault is one.
    pub(crate) event: Vec<u8>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Beat {
    Wait(Duration),
    Send {
        bytes: Bytes,
        is_piece: bool,
    },
    /// Silence on an open connection.
    Hang,
    /// The same bytes again and again, until the client has enough of them.
    Repeat {
        bytes: Bytes,
        every: Duration,
        is_piece: bool,
    },
    Break(Break),
}

/// How the connection ends before the body does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Break {
    #[error("the script cuts the connection")]
    Cut,
    #[error("the script resets the connection")]
    Reset,
}

/// Everything that is done, in order.
pub(crate) fn beats(frames: Vec<Frame>, pace: Pace, mishap: Option<Mishap>) -> VecDeque<Beat> {
    let Some(mishap) = mishap else { return paced(frames, pace) };
    let (before, after) = split(frames, mishap.after_pieces);
    match mishap.how {
        StreamBreak::Cut => {
            let half =
                after.first().map(|frame| Frame::around(frame.bytes[..frame.bytes.len() / 2].to_vec()));
            let sent = before.into_iter().chain(half).collect();
            ending(paced(sent, pace), Beat::Break(Break::Cut))
        }
        StreamBreak::Reset => ending(paced(before, pace), Beat::Break(Break::Reset)),
        StreamBreak::Stall => ending(paced(before, pace), Beat::Hang),
        StreamBreak::Pings => {
            let bytes = mishap.event.into();
            ending(paced(before, pace), Beat::Repeat { bytes, every: PING_INTERVAL, is_piece: false })
        }
        StreamBreak::Endless => {
            let pieces = before.iter().rev().chain(&after);
            let piece = pieces.into_iter().find(|frame| frame.part == Part::Piece);
            let bytes = piece.map_or_else(Bytes::new, |frame| frame.bytes.clone().into());
            ending(paced(before, pace), Beat::Repeat { bytes, every: pace.pause, is_piece: true })
        }
        StreamBreak::Bloated => {
            let bytes = Bytes::from_static(&[b'x'; BLOAT_BYTES]);
            ending(paced(before, pace), Beat::Repeat { bytes, every: Duration::ZERO, is_piece: false })
        }
        StreamBreak::Garbage => {
            let replaced = usize::from(after.first().is_some_and(|frame| frame.part == Part::Piece));
            let garbage = Frame::around(GARBAGE.to_vec());
            paced(before.into_iter().chain([garbage]).chain(after.into_iter().skip(replaced)).collect(), pace)
        }
        StreamBreak::Ended => paced(before, pace),
        StreamBreak::Unterminated => {
            let frames = before.into_iter().chain(after);
            paced(frames.filter(|frame| frame.part != Part::Terminator).collect(), pace)
        }
        StreamBreak::Overloaded | StreamBreak::Error(_) => {
            paced(before.into_iter().chain([Frame::around(mishap.event)]).collect(), pace)
        }
    }
}

/// Splits before the piece that a fault befalls; where all are to come, before the ending.
fn split(mut frames: Vec<Frame>, after_pieces: Option<usize>) -> (Vec<Frame>, Vec<Frame>) {
    let of_answer = |(_, frame): &(usize, &Frame)| frame.part == Part::Piece;
    let pieces: Vec<usize> = frames.iter().enumerate().filter(of_answer).map(|(at, _)| at).collect();
    let before = after_pieces.unwrap_or_else(|| pieces.len().div_ceil(2));
    let ending = || frames.iter().position(|frame| matches!(frame.part, Part::Ending | Part::Terminator));
    let at = pieces.get(before).copied().or_else(ending).unwrap_or(frames.len());
    let after = frames.split_off(at);
    (frames, after)
}

fn paced(frames: Vec<Frame>, pace: Pace) -> VecDeque<Beat> {
    let mut beats = VecDeque::with_capacity(frames.len());
    let mut wait = pace.first_after;
    for frame in frames {
        let is_piece = frame.part == Part::Piece;
        if is_piece && !wait.is_zero() {
            beats.push_back(Beat::Wait(wait));
        }
        if is_piece {
            wait = pace.pause;
        }
        beats.push_back(Beat::Send { bytes: frame.bytes.into(), is_piece });
    }
    beats
}

fn ending(mut beats: VecDeque<Beat>, last: Beat) -> VecDeque<Beat> {
    beats.push_back(last);
    beats
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(`, four pieces from `a` to `d`, `)` and `.`.
    fn frames() -> Vec<Frame> {
        let frame = |(text, part): &(&str, Part)| Frame { bytes: text.as_bytes().to_vec(), part: *part };
        let pieces = ["aa", "bb", "cc", "dd"].map(|text| (text, Part::Piece));
        let end = [("))", Part::Ending), ("..", Part::Terminator)];
        [("((", Part::Around)].iter().chain(&pieces).chain(&end).map(frame).collect()
    }

    fn mishap(how: StreamBreak, after_pieces: Option<usize>) -> Option<Mishap> {
        Some(Mishap { how, after_pieces, event: b"!!".to_vec() })
    }

    fn shown(beats: VecDeque<Beat>) -> String {
        let word = |beat| match beat {
            Beat::Wait(time) => format!("{}ms", time.as_millis()),
            Beat::Send { bytes, .. } if bytes == GARBAGE => "?".to_owned(),
            Beat::Send { bytes, .. } => String::from_utf8(bytes.to_vec()).expect("text"),
            Beat::Hang => "hang".to_owned(),
            Beat::Repeat { bytes, .. } if bytes == [b'x'; BLOAT_BYTES].as_slice() => "x...".to_owned(),
            Beat::Repeat { bytes, .. } => format!("{}...", String::from_utf8_lossy(&bytes)),
            Beat::Break(how) => format!("{how:?}"),
        };
        beats.into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_fault_befalls_the_stream_where_it_is_wanted() {
        for (how, after_pieces, expected) in [
            (StreamBreak::Cut, None, "(( aa bb c Cut"),
            (StreamBreak::Cut, Some(0), "(( a Cut"),
            (StreamBreak::Cut, Some(9), "(( aa bb cc dd ) Cut"),
            (StreamBreak::Reset, Some(1), "(( aa Reset"),
            (StreamBreak::Stall, Some(3), "(( aa bb cc hang"),
            (StreamBreak::Pings, Some(2), "(( aa bb !!..."),
            (StreamBreak::Endless, None, "(( aa bb bb..."),
            (StreamBreak::Endless, Some(0), "(( aa..."),
            (StreamBreak::Bloated, Some(1), "(( aa x..."),
            (StreamBreak::Garbage, Some(1), "(( aa ? cc dd )) .."),
            (StreamBreak::Garbage, Some(4), "(( aa bb cc dd ? )) .."),
            (StreamBreak::Ended, Some(4), "(( aa bb cc dd"),
            (StreamBreak::Unterminated, None, "(( aa bb cc dd ))"),
            (StreamBreak::Overloaded, Some(2), "(( aa bb !!"),
            (StreamBreak::Error(500), Some(0), "(( !!"),
        ] {
            let beats = beats(frames(), Pace::default(), mishap(how, after_pieces));
            assert_eq!(shown(beats), expected, "{how:?} after {after_pieces:?}");
        }
    }

    #[test]
    fn only_pieces_are_waited_for() {
        let pace = Pace { first_after: Duration::from_millis(9), pause: Duration::from_millis(2) };
        assert_eq!(shown(beats(frames(), pace, None)), "(( 9ms aa 2ms bb 2ms cc 2ms dd )) ..");
        let stall = mishap(StreamBreak::Stall, Some(0));
        assert_eq!(shown(beats(frames(), pace, stall)), "(( hang");
    }
}
