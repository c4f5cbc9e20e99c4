use std::collections::HashMap;
use std::marker::PhantomData;

use bytes::Buf as _;
use prost::{Message, Name};
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{ERROR_DOMAIN, refused};

/// Protobuf, except that a request which does not decode answers INVALID_ARGUMENT
/// (`UNDECODABLE_REQUEST`). tonic's own codec says INTERNAL, which blames the service for what the
/// caller sent. A response that does not decode stays INTERNAL: there the caller is innocent. A request that
/// sets a field which no service honours yet answers INVALID_ARGUMENT too, naming the field.
#[derive(Debug, Clone)]
pub struct StrictCodec<Encode, Decode>(PhantomData<(Encode, Decode)>);

impl<Encode, Decode> Default for StrictCodec<Encode, Decode> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Encode, Decode> Codec for StrictCodec<Encode, Decode>
where
    Encode: Message + Send + 'static,
    Decode: Message + Name + Default + Send + 'static,
{
    type Encode = Encode;
    type Decode = Decode;
    type Encoder = StrictEncoder<Encode>;
    type Decoder = StrictDecoder<Decode>;

    fn encoder(&mut self) -> Self::Encoder {
        StrictEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder { decoded: false, message: PhantomData }
    }
}

/// First room for a message that is sent: most are smaller, and tonic's 8 KiB for each costs more than to grow.
const BUFFER_BYTES: usize = 1 << 10;
/// Of a stream, what is encoded before the rest waits; tonic's own bound.
const YIELD_BYTES: usize = 32 << 10;

/// The encoding half of [`StrictCodec`].
#[derive(Debug, Clone)]
pub struct StrictEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for StrictEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// The decoding half of [`StrictCodec`].
#[derive(Debug, Clone)]
pub struct StrictDecoder<T> {
    /// Whether a message has come already.
    decoded: bool,
    message: PhantomData<T>,
}

impl<T: Message + Name + Default> Decoder for StrictDecoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        // No RPC of the contract takes a stream; tonic would ignore what comes after the first message.
        if std::mem::replace(&mut self.decoded, true) && is_request(T::NAME) {
            return Err(one_too_many());
        }
        if is_request(T::NAME) {
            // tonic hands over one whole message, in one piece.
            let fields = refused::set_fields(&T::full_name(), buffer.chunk());
            if !fields.is_empty() {
                return Err(not_honoured(fields));
            }
        }
        T::decode(buffer).map(Some).map_err(|error| undecodable(T::NAME, &error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// The contract names every request so, and nothing else.
fn is_request(message: &str) -> bool {
    message.ends_with("Request")
}

fn one_too_many() -> Status {
    let (code, reason) = (Code::InvalidArgument, "MALFORMED_REQUEST");
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, "the RPC takes one message, and more came", details)
}

/// The same for a request that did not come as bytes.
///
/// # Errors
/// INVALID_ARGUMENT (`INVALID_REQUEST`), naming each field that no service honours yet.
pub fn refuse_unhonoured<T: Message + Name>(request: &T) -> Result<(), Status> {
    let fields = refused::set_fields(&T::full_name(), &request.encode_to_vec());
    if fields.is_empty() { Ok(()) } else { Err(not_honoured(fields)) }
}

fn not_honoured(fields: Vec<String>) -> Status {
    let (code, reason) = (Code::InvalidArgument, "INVALID_REQUEST");
    let message = format!("this version cannot honour {}; leave it out", fields.join(", "));
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    for field in fields {
        details.add_bad_request_violation(field, "cannot be honoured by this version; leave it out");
    }
    Status::with_error_details(code, message, details)
}

fn undecodable(message: &str, error: &prost::DecodeError) -> Status {
    let (code, reason) = if is_request(message) {
        (Code::InvalidArgument, "UNDECODABLE_REQUEST")
    } else {
        (Code::Internal, "UNDECODABLE_RESPONSE")
    };
    let details =
        ErrorDetails::with_error_info(reason, ERROR_DOMAIN, [("message".to_owned(), message.to_owned())]);
    Status::with_error_details(code, format!("the bytes are not a {message}: {error}"), details)
}
