use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::entry::{StoredResponse, StoredValue};
use crate::invalidate::{Invalidation, Log, Position, Verdict};
use crate::key::{Key, KeyRef};
use crate::store::Stored;
use crate::store::redis::wire::{
    DecodedEntry, EntryStamp, decode, encode, keep_for, key_of, resealed,
};

/// Takes the input for a stored value as it travels, with its checksum made right.
///
/// - What is accepted can be used in every way, and is written again just as it was read.
/// - Any byte that is changed, missing or added is noticed.
/// - Another key is given nothing.
pub fn wire(input: &[u8]) {
    // Some of what is mixed up is undamaged all the same.
    let _ = decode(Bytes::copy_from_slice(input), key_of(input).borrow());
    let blob = resealed(input);
    let key = key_of(&blob);
    let Ok(received) = decode(blob.clone(), key.borrow()) else {
        return;
    };
    let other = Key::from_bytes([key.as_bytes(), b"x"].concat().into());
    assert!(decode(blob.clone(), other.borrow()).is_err());
    assert_damage_is_noticed(&blob, key.borrow());
    assert_usable(received, &blob, key.borrow());
}

fn assert_damage_is_noticed(blob: &Bytes, key: KeyRef<'_>) {
    let at = blob.iter().map(|byte| usize::from(*byte)).sum::<usize>() % blob.len();
    let mut changed = blob.to_vec();
    changed[at] ^= 1 << (at % 8);
    assert!(decode(changed.into(), key).is_err(), "changed at {at}");
    assert!(decode(blob.slice(..at), key).is_err(), "cut off at {at}");
    let longer = [&blob[..], &blob[at..]].concat();
    assert!(decode(longer.into(), key).is_err(), "repeated from {at}");
}

fn assert_usable(received: DecodedEntry, blob: &Bytes, key: KeyRef<'_>) {
    let (now, stamp) = (Clock::default().instant(), *received.stamp());
    let position = Position::from(1);
    let stored = received.into_stored(position, now, stamp.made);
    let stamp = EntryStamp::new(stamp.epoch, stamp.position, Duration::ZERO, stamp.made);
    let written = encode(key, &stored, &stamp);
    let is_exact = match &stored {
        Stored::Response(response) => {
            assert_response_is_usable(response);
            assert_eq!(response.age(now), Duration::ZERO);
            // A header map puts the lines of one field together.
            response.trailers().is_none()
        }
        Stored::Variants(_) => true,
        Stored::Value(value) => {
            assert_value_is_usable(value);
            assert_eq!(value.age(now), Duration::ZERO);
            true
        }
    };
    assert!(!is_exact || written == blob, "written otherwise");
    assert_eq!(written.len(), blob.len());
    assert!(decode(written, key).is_ok());
    let kept = keep_for(&stored, Duration::ZERO).as_secs();
    assert!((1..=30 * 86_400).contains(&kept), "kept for {kept} s");
}

fn assert_value_is_usable(value: &StoredValue) {
    assert!(value.size() >= value.bytes().len());
    assert!(value.subject().path().starts_with("values:"));
    let log = Log::with_capacity(4);
    let position = log.position();
    log.append(&[Invalidation::everything()]);
    assert_eq!(log.verdict(position, value.subject()), Verdict::Invalid);
}

fn assert_response_is_usable(response: &StoredResponse) {
    let head = response.head();
    assert_eq!(head.to_map(3).len(), head.iter().count());
    assert_eq!(response.body().len(), response.body_len());
    assert!(response.size() >= response.body_len());
    let log = Log::with_capacity(4);
    let position = log.position();
    let path = response.subject().path();
    assert!(path.starts_with('/'));
    log.append(&[Invalidation::uri(path)]);
    assert_eq!(log.verdict(position, response.subject()), Verdict::Invalid);
}
