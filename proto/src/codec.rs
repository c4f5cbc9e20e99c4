use std::marker::PhantomData;

use prost::{Message, Name};
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::ERROR_DOMAIN;

/// Protobuf, except that a request which does not decode answers INVALID_ARGUMENT
/// (`UNDECODABLE_REQUEST`). tonic's own codec says INTERNAL, which blames the service for what the
/// caller sent. A response that does not decode stays INTERNAL: there the caller is innocent.
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
        StrictDecoder(PhantomData)
    }
}

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
        BufferSettings::default()
    }
}

/// The decoding half of [`StrictCodec`].
#[derive(Debug, Clone)]
pub struct StrictDecoder<T>(PhantomData<T>);

impl<T: Message + Name + Default> Decoder for StrictDecoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        T::decode(buffer).map(Some).map_err(|error| undecodable(T::NAME, &error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

fn undecodable(message: &str, error: &prost::DecodeError) -> Status {
    let (code, reason) = if message.ends_with("Request") {
        (Code::InvalidArgument, "UNDECODABLE_REQUEST")
    } else {
        (Code::Internal, "UNDECODABLE_RESPONSE")
    };
    let details =
        ErrorDetails::with_error_info(reason, ERROR_DOMAIN, [("message".to_owned(), message.to_owned())]);
    Status::with_error_details(code, format!("the bytes are not a {message}: {error}"), details)
}
