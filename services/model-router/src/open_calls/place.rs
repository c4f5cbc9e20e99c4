//! How a mark stands in its place: the length of an event in the order of the network, the start of its SHA-256, and the
//! event. Pure.

use bulkhead_proto::audit::v1 as audit;
use prost::{EncodeError, Message as _};
use sha2::{Digest as _, Sha256};

/// Of a place. Events of calls have some 700 bytes here; what does not fit is not marked.
pub(super) const BYTES: usize = 2_048;
/// Of the length before the event; zero: the place is free.
const LENGTH_BYTES: usize = 4;
/// Of the digest: enough to tell a whole event from half of one.
const CHECK_BYTES: usize = 8;
/// At the beginning of a place in which nothing stands.
pub(super) const FREE: [u8; LENGTH_BYTES] = [0; LENGTH_BYTES];
/// Before the event.
const HEAD_BYTES: usize = LENGTH_BYTES + CHECK_BYTES;

/// A place with an event in it; none where there is not enough of it.
pub(super) fn write(
    place: &mut [u8; BYTES],
    encode: impl FnOnce(&mut &mut [u8]) -> Result<(), EncodeError>,
) -> Option<&[u8]> {
    let (head, body) = place.split_at_mut(HEAD_BYTES);
    let mut room = &mut *body;
    encode(&mut room).ok()?;
    let length = BYTES - HEAD_BYTES - room.len();
    let event = body.get(..length)?;
    let (length_bytes, check_bytes) = head.split_at_mut(LENGTH_BYTES);
    length_bytes.copy_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
    check_bytes.copy_from_slice(&check(event));
    place.get(..HEAD_BYTES + length)
}

fn check(event: &[u8]) -> [u8; CHECK_BYTES] {
    Sha256::digest(event).first_chunk().copied().unwrap_or_default()
}

/// What a file says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Marks {
    pub(super) open: Vec<audit::Event>,
    /// Places where something else stands than a whole event: what a machine that lost its power may leave.
    pub(super) unreadable: usize,
}

/// Reads every place of a file.
pub(super) fn read(content: &[u8]) -> Marks {
    let mut marks = Marks::default();
    for place in content.chunks(BYTES).filter(|place| !is_free(place)) {
        match event(place) {
            Some(event) => marks.open.push(event),
            None => marks.unreadable += 1,
        }
    }
    marks
}

fn is_free(place: &[u8]) -> bool {
    place.iter().take(LENGTH_BYTES).all(|byte| *byte == 0)
}

fn event(place: &[u8]) -> Option<audit::Event> {
    let (length, rest) = place.split_first_chunk::<LENGTH_BYTES>()?;
    let (told, rest) = rest.split_first_chunk::<CHECK_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let bytes = rest.get(..length).filter(|bytes| check(bytes) == *told)?;
    audit::Event::decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(number: u32) -> audit::Event {
        audit::Event { event_id: number.to_string(), subject_id: "s".repeat(100), ..audit::Event::default() }
    }

    fn place(event: &audit::Event) -> Option<Vec<u8>> {
        write(&mut [0; BYTES], |room| event.encode(room)).map(<[u8]>::to_vec)
    }

    #[test]
    fn every_place_is_read_for_itself() {
        let mut content = vec![0; 5 * BYTES];
        let mut put = |place: usize, bytes: &[u8]| {
            content[place * BYTES..][..bytes.len()].copy_from_slice(bytes);
        };
        let (first, last) = (place(&marked(1)).expect("fits"), place(&marked(4)).expect("fits"));
        put(0, &first);
        put(1, &u32::MAX.to_be_bytes());
        put(2, &first[..first.len() / 2]);
        put(4, &last);
        assert_eq!(read(&content), Marks { open: vec![marked(1), marked(4)], unreadable: 2 });
        assert_eq!(read(&content[..BYTES + 2]), Marks { open: vec![marked(1)], unreadable: 1 });
        assert_eq!(read(&[0; BYTES + 2]), Marks::default());
    }

    #[test]
    fn what_does_not_fit_is_not_marked() {
        let large = audit::Event { attributes_json: "x".repeat(BYTES), ..marked(1) };
        assert_eq!(place(&large), None);
    }
}
