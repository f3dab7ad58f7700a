//! The fixed parts of the form.

/// The first byte begins no text.
pub(super) const MAGIC: [u8; 4] = *b"\xf2trc";

/// A node reads no other version, and nodes of other versions do not read this one.
pub(super) const VERSION: u8 = 1;

/// The number of bytes before the key.
pub(super) const FIXED: usize = 46;

/// The number of bytes of the checksum.
pub(super) const SUM: usize = 4;

/// The kinds of values.
pub(super) const RESPONSE: u8 = 1;
pub(super) const VARIANTS: u8 = 2;
pub(super) const VALUE: u8 = 3;

/// Why bytes cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unfit {
    /// Not written by this crate.
    NotOurs,
    /// Written by a release with another form.
    Version,
    /// Damaged: not the bytes that were written, or not all.
    Checksum,
    /// The value of another key, whose name has the same digest.
    Key,
    /// Undamaged, yet nothing that this release would write.
    Malformed,
}
