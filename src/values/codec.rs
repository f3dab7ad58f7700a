//! Conversion of values to bytes and back.

use std::error::Error;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Converts values of a type to bytes and back.
///
/// [`Json`] is the default; [`Values::codec`](super::Values::codec) sets another. Every process that
/// shares the store must read a namespace with the codec that wrote it; a value that the codec cannot
/// read counts as missing.
///
/// # Examples
///
/// ```
/// use std::error::Error;
/// use tower_response_cache::Codec;
///
/// #[derive(Clone, Debug)]
/// struct Text;
///
/// impl Codec<String> for Text {
///     fn encode(&self, value: &String) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
///         Ok(value.clone().into_bytes())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<String, Box<dyn Error + Send + Sync>> {
///         Ok(str::from_utf8(bytes)?.to_owned())
///     }
/// }
/// ```
pub trait Codec<T>: Send + Sync {
    /// Encodes a value.
    ///
    /// # Errors
    ///
    /// Fails if the value cannot be encoded. Then it is not stored.
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>;

    /// Decodes a value.
    ///
    /// The bytes may come from anyone who can write to the store, so this must not panic.
    ///
    /// # Errors
    ///
    /// Fails if the bytes cannot be decoded. Then the stored value counts as missing, and is removed.
    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn Error + Send + Sync>>;
}

/// A codec for JSON, by `serde_json`.
///
/// Other programs can read it, and so can the next version of this one if added fields have a
/// default. A map whose keys are not strings cannot be encoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn Error + Send + Sync>> {
        Ok(serde_json::from_slice(bytes)?)
    }
}
