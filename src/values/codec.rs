//! How values become bytes and bytes values.

use std::error::Error;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Turns values of a type into bytes, and back.
///
/// [`Json`] is used unless [`Values::codec`](super::Values::codec) says otherwise. Whatever reads a
/// namespace has to use the codec that wrote it, in every process that shares the store; bytes that it
/// cannot read are taken for missing.
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
    /// Returns the bytes that stand for a value.
    ///
    /// # Errors
    ///
    /// Fails where there are none. The value is not stored then.
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>>;

    /// Returns the value that bytes stand for.
    ///
    /// # Errors
    ///
    /// Fails where they stand for none. What is stored is taken for missing then, and removed. It
    /// may have come from anyone who can write to the store: this must not panic.
    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn Error + Send + Sync>>;
}

/// JSON, by `serde_json`.
///
/// It can be read by other programs, and by the next version of this one, if fields that were added
/// have a default. A map whose keys are no strings has no JSON.
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
