//! Made-up bytes that pass for undamaged.

use bytes::Bytes;

use super::form::{FIXED, MAGIC, SUM, VERSION};
use crate::entry::take_length;
use crate::key::Key;

/// Makes an undamaged blob of this version with the content of `blob`. A short one is padded with
/// zeros.
pub(crate) fn resealed(blob: &[u8]) -> Bytes {
    let mut blob = blob.to_vec();
    blob.resize(blob.len().max(FIXED + SUM), 0);
    let (length, sealed) = (blob.len() as u64, blob.len() - SUM);
    blob[..MAGIC.len()].copy_from_slice(&MAGIC);
    blob[MAGIC.len()] = VERSION;
    blob[FIXED - size_of::<u64>()..FIXED].copy_from_slice(&length.to_le_bytes());
    let sum = crc32fast::hash(&blob[..sealed]);
    blob[sealed..].copy_from_slice(&sum.to_le_bytes());
    blob.into()
}

/// Returns the key that a blob claims to belong to; an empty one if there is none.
pub(crate) fn key_of(blob: &[u8]) -> Key {
    let mut rest = blob.get(FIXED..).unwrap_or_default();
    let length = take_length(&mut rest);
    let key = length.and_then(|length| rest.get(..length));
    Key::from_bytes(key.unwrap_or_default().into())
}
