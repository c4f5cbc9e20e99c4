//! Answers as they are kept for a second request.

use std::marker::PhantomData;

use bytes::Bytes;
use prost::{DecodeError, Message};

/// A message in its encoding, which takes a fraction of the room of what is made of it.
#[derive(Debug, Clone)]
pub(crate) struct Kept<M>(Bytes, PhantomData<fn() -> M>);

impl<M: Message + Default> Kept<M> {
    pub(crate) fn of(message: &M) -> Self {
        Self(message.encode_to_vec().into(), PhantomData)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// # Errors
    /// None, unless memory is damaged.
    pub(crate) fn message(&self) -> Result<M, DecodeError> {
        M::decode(self.0.clone())
    }
}
