//! How events stand in a file: the length of what follows the checksum, the CRC-32 of that, and the events of one write
//! as an encoded AppendEventsRequest; lengths and checksums are little-endian. Pure.

use bulkhead_proto::audit::v1 as pb;
use prost::Message as _;
use prost::encoding::message;

/// Number of the field in AppendEventsRequest.
const EVENTS: u32 = 2;
/// Length and checksum.
pub(super) const HEAD_BYTES: usize = 8;

/// What stands at a place.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// Events that were written together, and the bytes that they take.
    Events(Vec<pb::Event>, usize),
    /// So many bytes from here on have to be there to tell.
    Incomplete(usize),
    /// Nothing was written here.
    End,
    /// Something that nobody wrote as a whole.
    Damaged,
}

/// Events that stand and fall together.
pub(super) fn encode(events: &[pb::Event]) -> Vec<u8> {
    let length = message::encoded_len_repeated(EVENTS, events);
    let mut frame = Vec::with_capacity(HEAD_BYTES + length);
    frame.resize(HEAD_BYTES, 0);
    message::encode_repeated(EVENTS, events, &mut frame);
    let (head, body) = frame.split_at_mut(HEAD_BYTES);
    let checksum = crc32fast::hash(body);
    // Events are bounded far below 4 GiB; a length that did not fit would not match when it is read.
    head[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    head[4..].copy_from_slice(&checksum.to_le_bytes());
    frame
}

/// Reads what stands at the beginning of `bytes`, of which `left` are in the file from there on.
pub(super) fn decode(bytes: &[u8], left: usize) -> Found {
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else {
        return if left < HEAD_BYTES { ended(bytes) } else { Found::Incomplete(HEAD_BYTES) };
    };
    let number = |at: usize| {
        let bytes = head.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let (length, checksum) = (usize::try_from(number(0)).unwrap_or(usize::MAX), number(4));
    let whole = HEAD_BYTES.saturating_add(length);
    if length == 0 {
        return ended(head);
    }
    if whole > left {
        return Found::Damaged;
    }
    let Some(body) = rest.get(..length) else { return Found::Incomplete(whole) };
    if crc32fast::hash(body) != checksum {
        return Found::Damaged;
    }
    match pb::AppendEventsRequest::decode(body) {
        Ok(message) => Found::Events(message.events, whole),
        Err(_not_ours) => Found::Damaged,
    }
}

fn ended(head: &[u8]) -> Found {
    if head.iter().all(|byte| *byte == 0) { Found::End } else { Found::Damaged }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> pb::Event {
        pb::Event { event_id: id.into(), ..pb::Event::default() }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let events = vec![event("a"), event("b")];
        let frame = encode(&events);
        let length = frame.len();
        let file = [frame, vec![0; 40]].concat();
        assert_eq!(decode(&file, file.len()), Found::Events(events, length));
        assert_eq!(decode(&file[length..], 40), Found::End);
        assert_eq!(decode(&[], 0), Found::End);
        assert_eq!(decode(&file[..3], file.len()), Found::Incomplete(HEAD_BYTES));
        assert_eq!(decode(&file[..HEAD_BYTES + 1], file.len()), Found::Incomplete(length));
    }

    #[test]
    fn no_changed_byte_and_no_cut_is_taken_for_events() {
        let frame = encode(&[event("a"), event("b")]);
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 0x40;
            assert_eq!(decode(&changed, changed.len()), Found::Damaged, "byte {at}");
            if at > 0 {
                assert_eq!(decode(&frame[..at], at), Found::Damaged, "cut at {at}");
            }
        }
    }
}
