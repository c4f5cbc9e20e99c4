//! Pictures and documents of a request, checked.

use bulkhead_edge::Violations;
use bulkhead_proto::router::v1 as pb;

use crate::chat::{Block, Media};

const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Bytes of a picture at most.
const IMAGE_BYTES_MAX: usize = 5 << 20;
/// Bytes of a document at most.
const DOCUMENT_BYTES_MAX: usize = 7 << 20;
/// Characters of a document's title at most.
const TITLE_CHARS_MAX: usize = 256;
/// Parts of a tool result at most: as many as a turn has blocks.
const PARTS_MAX: usize = 1_000;

/// A picture in the block at `field`.
pub(super) fn image(image: pb::Image, field: &str, violations: &mut Violations) -> Option<Media> {
    let media_type = IMAGE_TYPES.into_iter().find(|known| *known == image.media_type);
    let right = format!("must be one of {}", IMAGE_TYPES.join(", "));
    violations.require(media_type.is_some(), &format!("{field}.image.media_type"), right);
    let fits = (1..=IMAGE_BYTES_MAX).contains(&image.content.len());
    violations.require(fits, &format!("{field}.image.content"), "must be 1 to 5242880 bytes");
    Some(Media::Image { media_type: media_type?, content: image.content.into() })
}

/// A document in the block at `field`.
pub(super) fn document(document: pb::Document, field: &str, violations: &mut Violations) -> Option<Media> {
    let pb::Document { media_type, content, title } = document;
    let fits = title.chars().count() <= TITLE_CHARS_MAX;
    violations.require(fits, &format!("{field}.document.title"), "must be at most 256 characters");
    let place = format!("{field}.document.content");
    let fits = (1..=DOCUMENT_BYTES_MAX).contains(&content.len());
    violations.require(fits, &place, "must be 1 to 7340032 bytes");
    match media_type.as_str() {
        "application/pdf" => Some(Media::Pdf { title, content: content.into() }),
        "text/plain" => match String::from_utf8(content) {
            Ok(text) => Some(Media::PlainText { title, text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                violations.add(place, format!("must be UTF-8, which ends after {at} bytes"));
                None
            }
        },
        _ => {
            let right = "must be application/pdf or text/plain";
            violations.add(format!("{field}.document.media_type"), right);
            None
        }
    }
}

/// What stands in a tool result at `field` beside its text.
pub(super) fn parts(
    parts: Vec<pb::ContentBlock>,
    field: &str,
    violations: &mut Violations,
) -> Option<Vec<Block>> {
    violations.require(parts.len() <= PARTS_MAX, &format!("{field}.parts"), "must be at most 1000");
    let parts = parts.into_iter().take(PARTS_MAX).enumerate();
    // Each is read, also after a wrong one, so that every violation is found.
    let read: Vec<Option<Block>> =
        parts.map(|(at, content)| part(content, &format!("{field}.parts[{at}]"), violations)).collect();
    read.into_iter().collect()
}

fn part(content: pb::ContentBlock, field: &str, violations: &mut Violations) -> Option<Block> {
    use pb::content_block::Block as Wire;
    match content.block {
        Some(Wire::Text(text)) => {
            violations.require(!text.is_empty(), &format!("{field}.text"), "must not be empty");
            Some(Block::Text(text))
        }
        Some(Wire::Image(image)) => self::image(image, field, violations).map(Block::Media),
        Some(Wire::Document(document)) => self::document(document, field, violations).map(Block::Media),
        Some(Wire::ToolUse(_) | Wire::ToolResult(_) | Wire::Thinking(_)) | None => {
            violations.add(field, "must be text, image or document");
            None
        }
    }
}
