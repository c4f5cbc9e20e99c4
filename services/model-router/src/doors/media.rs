//! Pictures and documents, which come as base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulkhead_proto::router::v1 as pb;
use pb::content_block::Block;

/// What a picture has to be.
pub(super) const BY_VALUE: &str = "must be a base64 data: URL; what is elsewhere is not fetched";

/// The bytes.
pub(super) fn decoded(base64: &str) -> Option<Vec<u8>> {
    STANDARD.decode(base64).ok()
}

/// The media type and the bytes of a `data:` URL (RFC 2397) in base64.
pub(super) fn data_url(url: &str) -> Option<(String, Vec<u8>)> {
    let (media_type, base64) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some((media_type.to_owned(), decoded(base64)?))
}

/// A block of the contract.
pub(super) fn block(block: Block) -> pb::ContentBlock {
    pb::ContentBlock { block: Some(block), ..pb::ContentBlock::default() }
}

/// A picture.
pub(super) fn image((media_type, content): (String, Vec<u8>)) -> pb::ContentBlock {
    block(Block::Image(pb::Image { media_type, content }))
}

/// A document.
pub(super) fn document((media_type, content): (String, Vec<u8>), title: String) -> pb::ContentBlock {
    block(Block::Document(pb::Document { media_type, content, title }))
}
