use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::clock;
use crate::entry::{Reuse, StoredValue, Times, Variant, Variants};
use crate::fuzzing;
use crate::invalidate::Position;
use crate::key::{Key, KeyBuilder};
use crate::pattern::Namespace;
use crate::target::Subject;

const SECOND: Duration = Duration::from_secs(1);
fn key(path: &str) -> Key {
    let mut key = KeyBuilder::default();
    key.part(b"https").part(path.as_bytes()).optional(None);
    key.key().to_owned()
}

fn stamp() -> EntryStamp {
    EntryStamp {
        epoch: *b"an epoch of 16 B",
        position: 7,
        made: 1_700_000_000_000,
    }
}

/// What a response is made of here.
struct Made {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
    windows: [Duration; 3],
    reuse: Reuse,
    subject: Subject,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"1\""))]),
            body: Bytes::from_static(b"body"),
            trailers: None,
            windows: [60 * SECOND, SECOND, 2 * SECOND],
            reuse: Reuse::default(),
            subject: Subject::new("/a", None, []),
        }
    }
}

impl Made {
    fn stored(self) -> Stored {
        let [lifetime, stale_while_revalidate, stale_if_error] = self.windows;
        let times = Times {
            received: clock::origin(),
            initial_age: Duration::ZERO,
            lifetime,
            stale_while_revalidate,
            stale_if_error,
        };
        Stored::Response(Arc::new(StoredResponse::new(
            self.status,
            &self.headers,
            self.body,
            self.trailers,
            times,
            self.reuse,
            self.subject,
            Position::from(3),
        )))
    }
}

fn response(stored: &Stored) -> &StoredResponse {
    match stored {
        Stored::Response(response) => response,
        _ => panic!("not a response: {stored:?}"),
    }
}

fn variants() -> Stored {
    let variant = |language: &'static str| {
        let mut variant = KeyBuilder::extend(key("/a").borrow());
        variant.part(b"accept-language").part(language.as_bytes());
        Variant {
            key: variant.key().to_owned(),
            any_language: Some(key("/a")),
            etag: None,
            content_language: Some(HeaderValue::from_static(language)),
        }
    };
    Stored::Variants(Arc::new(Variants {
        names: vec![HeaderName::from_static("accept-language")],
        known: vec![variant("de"), variant("fr")],
    }))
}

/// A handler's own value, and its key.
fn own_value(name: &str, bytes: &[u8], lifetime: Duration) -> (Key, Stored) {
    let tags = [Box::from("user:1"), Box::from("ä")];
    let subject = Subject::of_value(&Namespace::new("users"), name, tags);
    let (age, position) = (Duration::ZERO, Position::from(3));
    let value = StoredValue::new(bytes, &subject, clock::origin(), age, lifetime, position);
    let mut key = KeyBuilder::default();
    key.part(Namespace::KIND.as_bytes())
        .part(b"users")
        .part(name.as_bytes());
    (key.key().to_owned(), Stored::Value(Arc::new(value)))
}

fn now() -> Instant {
    clock::origin() + 1_000 * SECOND
}

/// Sends a value to another node, which receives it at once.
fn sent(key: &Key, stored: &Stored) -> Stored {
    let blob = encode(key.borrow(), stored, &stamp());
    let received = decode(blob, key.borrow()).expect("just encoded");
    assert_eq!(*received.stamp(), stamp());
    received.into_stored(Position::from(5), now(), stamp().made)
}

fn assert_same(found: &Stored, put: &Stored) {
    match (found, put) {
        (Stored::Response(found), Stored::Response(put)) => {
            assert_eq!(found.status, put.status);
            assert_eq!(found.reuse, put.reuse);
            assert_eq!(found.head(), put.head());
            assert_eq!(found.head().to_map(3), put.head().to_map(3));
            assert!(found.body() == put.body(), "another body");
            assert_eq!(found.trailers(), put.trailers());
            assert_eq!(found.subject(), put.subject());
            assert_eq!(found.position, Position::from(5));
            assert_eq!(found.age(now()), Duration::ZERO);
            assert_eq!(found.lifetime(), put.lifetime());
            let windows = |of: &StoredResponse| (of.stale_while_revalidate(), of.stale_if_error());
            assert_eq!(windows(found), windows(put));
        }
        (Stored::Variants(found), Stored::Variants(put)) => {
            assert_eq!(found.names, put.names);
            let fields = |variants: &Variants| -> Vec<_> {
                let field = |variant: &Variant| {
                    let Variant {
                        key,
                        any_language,
                        etag,
                        content_language,
                    } = variant.clone();
                    (key, any_language, etag, content_language)
                };
                variants.known.iter().map(field).collect()
            };
            assert_eq!(fields(found), fields(put));
        }
        (Stored::Value(found), Stored::Value(put)) => {
            assert!(found.bytes() == put.bytes(), "other bytes");
            assert_eq!(found.subject(), put.subject());
            assert_eq!(found.position(), Position::from(5));
            assert_eq!(found.age(now()), Duration::ZERO);
            assert_eq!(found.lifetime(), put.lifetime());
        }
        _ => panic!("{put:?} came back as {found:?}"),
    }
}

#[test]
fn a_body_of_any_length_comes_back_without_being_copied() {
    for length in [0, 1, 4_095, 4_096, 4_097, 65_536] {
        let put = Made {
            body: vec![b'x'; length].into(),
            ..Made::default()
        };
        let (key, put) = (key("/a"), put.stored());
        let blob = encode(key.borrow(), &put, &stamp());
        let sent = blob.as_ptr_range();
        let received = decode(blob.clone(), key.borrow()).expect("just encoded");
        let found = received.into_stored(Position::from(5), now(), stamp().made);
        assert_same(&found, &put);
        let found = response(&found);
        let body = found.body();
        let etag = found.head().etag().expect("as it was put");
        assert!(length == 0 || sent.contains(&body.as_ptr()), "{length}");
        assert!(sent.contains(&etag.as_ptr()), "{length}");
        // What is around them stays in memory, and is counted.
        let around = blob.len() - length - etag.len();
        assert!(
            found.size() >= response(&put).size() + around - 20,
            "{length}"
        );
    }
}

#[test]
fn a_list_of_variants_comes_back() {
    assert_same(&sent(&key("/a"), &variants()), &variants());
    let empty = Stored::Variants(Arc::default());
    assert_same(&sent(&key("/a"), &empty), &empty);
}

#[test]
fn a_value_comes_back_with_what_it_is_invalidated_by() {
    for name in ["", "1", "a/b:c?d*", "ü %41"] {
        for (bytes, lifetime) in [(&b""[..], SECOND), (&[0xff; 10_000], Duration::MAX)] {
            let (key, put) = own_value(name, bytes, lifetime);
            assert_same(&sent(&key, &put), &put);
        }
    }
}

#[test]
fn a_value_under_the_key_of_something_else_is_refused() {
    let (own, put) = own_value("1", b"7", SECOND);
    let key_of = |parts: &[&[u8]]| {
        let mut key = KeyBuilder::default();
        for part in parts {
            key.part(part);
        }
        key.key().to_owned()
    };
    assert_eq!(own, key_of(&[b"value", b"users", b"1"]));
    let others: [&[&[u8]]; 5] = [
        &[b"https", b"users", b"1"],
        &[b"value", b"users"],
        &[b"value", b"users", b"1", b"2"],
        &[b"value", b"users", b"\xff"],
        &[],
    ];
    for parts in others {
        let key = key_of(parts);
        let blob = encode(key.borrow(), &put, &stamp());
        let refused = decode(blob, key.borrow()).err();
        assert_eq!(refused, Some(Unfit::Malformed), "{parts:?}");
    }
}

/// What one release writes the next one of the same version reads: this changes with the version.
#[test]
fn the_form_is_that_of_its_version() {
    let put = Made {
        trailers: Some(HeaderMap::from_iter([(
            HeaderName::from_static("x-t"),
            HeaderValue::from_static("v"),
        )])),
        reuse: Reuse {
            never_stale: true,
            with_cookie: true,
            ..Reuse::default()
        },
        windows: [SECOND, Duration::ZERO, Duration::MAX],
        subject: Subject::new("/a", Some("q"), [Box::from("tag")]),
        ..Made::default()
    };
    let key = Key::from_bytes(Box::from(*b"key"));
    let blob = encode(key.borrow(), &put.stored(), &stamp());
    let expected = [
        &b"\xf2trc\x01\x01an epoch of 16 B"[..],
        &7_u64.to_le_bytes(),
        &1_700_000_000_000_i64.to_le_bytes(),
        &113_u64.to_le_bytes(),
        b"\x03key",
        &1_000_000_000_u64.to_le_bytes(),
        &0_u64.to_le_bytes(),
        &u64::MAX.to_le_bytes(),
        &[0b1010],
        &200_u16.to_le_bytes(),
        b"\x01\x03tag",
        b"\x02\x03\x01x-tv",
        b"\x01\x09\x02\x02",
        b"\x04\x03etag\"1\"/aqbody",
    ]
    .concat();
    assert_eq!(blob[..blob.len() - SUM], expected);
    assert_eq!(
        blob[blob.len() - SUM..],
        crc32fast::hash(&expected).to_le_bytes()
    );
    let blob = encode(key.borrow(), &Stored::Variants(Arc::default()), &stamp());
    assert_eq!(blob[..6], *b"\xf2trc\x01\x02");
    assert_eq!(blob[FIXED..blob.len() - SUM], *b"\x03key\x00\x00");
    let (key, put) = own_value("1", b"7", SECOND);
    let blob = encode(key.borrow(), &put, &stamp());
    assert_eq!(blob[..6], *b"\xf2trc\x01\x03");
    let length = [key.as_bytes().len() as u8];
    let lifetime = 1_000_000_000_u64.to_le_bytes();
    let expected = [
        &length,
        key.as_bytes(),
        &lifetime,
        b"\x02\x06user:1\x02\xc3\xa47",
    ]
    .concat();
    assert_eq!(blob[FIXED..blob.len() - SUM], expected);
}

#[test]
fn no_response_gets_younger_by_travelling() {
    let (ms, ns) = (Duration::from_millis, Duration::from_nanos);
    let cases = [
        (ns(0), 0, ms(0)),
        (ns(0), 5, ms(5)),
        (ns(1), 0, ms(1)),
        (ns(999_999), 0, ms(1)),
        (ns(1_000_000), 0, ms(1)),
        (ns(1_000_001), 3, ms(5)),
        // The nodes' clock is one, but may be told to go back.
        (ns(0), -5, ms(0)),
        (ms(10), -3, ms(7)),
        (ms(10), -11, ms(0)),
    ];
    for (age, later, expected) in cases {
        for now in [0, 1_700_000_000_000] {
            let stamp = EntryStamp::new([0; 16], 0, age, now);
            assert_eq!(stamp.age(now + later), expected, "{age:?} {later}");
        }
    }
}

#[test]
fn no_clock_makes_an_age_panic() {
    let most = Duration::from_millis(i64::MAX as u64);
    assert_eq!(EntryStamp::new([0; 16], 0, Duration::MAX, 0).age(0), most);
    for now in [i64::MIN, 0, i64::MAX] {
        let stamp = EntryStamp::new([0; 16], 0, Duration::MAX, now);
        assert!(stamp.age(i64::MAX) >= most);
        assert!(stamp.age(i64::MIN) <= most);
        let (key, put) = (key("/a"), Made::default().stored());
        let received = decode(encode(key.borrow(), &put, &stamp), key.borrow());
        let received = received.expect("just encoded");
        let found = received.into_stored(Position::default(), clock::origin(), i64::MAX);
        assert!(response(&found).age(clock::origin()) > 100 * 365 * DAY);
    }
}

#[test]
fn what_is_not_fit_says_why() {
    let key = key("/a");
    let blob = encode(key.borrow(), &Made::default().stored(), &stamp());
    let changed = |at: usize| {
        let mut blob = blob.to_vec();
        blob[at] ^= 1;
        blob
    };
    let cases = [
        (Vec::new(), Unfit::NotOurs),
        (b"{\"json\": true}".to_vec(), Unfit::NotOurs),
        (MAGIC[..3].to_vec(), Unfit::NotOurs),
        (changed(0), Unfit::NotOurs),
        (MAGIC.to_vec(), Unfit::Version),
        (changed(4), Unfit::Version),
        (blob[..5].to_vec(), Unfit::Checksum),
        (blob[..FIXED].to_vec(), Unfit::Checksum),
        (blob[..blob.len() - 1].to_vec(), Unfit::Checksum),
        (changed(5), Unfit::Checksum),
        (changed(FIXED + 1), Unfit::Checksum),
        (changed(blob.len() - 1), Unfit::Checksum),
        (resealed(&changed(FIXED + 1)).into(), Unfit::Key),
        (resealed(&changed(FIXED)).into(), Unfit::Key),
        (resealed(&changed(5)).into(), Unfit::Malformed),
        (resealed(&blob[..5]).into(), Unfit::Malformed),
    ];
    for (at, (blob, expected)) in cases.into_iter().enumerate() {
        let found = decode(blob.into(), key.borrow()).err();
        assert_eq!(found, Some(expected), "{at}");
    }
    let other = Key::from_bytes([key.as_bytes(), b"\0"].concat().into());
    assert_eq!(decode(blob, other.borrow()).err(), Some(Unfit::Key));
}

/// Puts bytes in the place of others, all of which begin behind the key, and makes the checksum
/// right.
fn forged(key: &Key, stored: &Stored, at: usize, replaced: usize, by: &[u8]) -> Option<Unfit> {
    let mut blob = encode(key.borrow(), stored, &stamp()).to_vec();
    let at = FIXED + 1 + key.as_bytes().len() + at;
    blob.splice(at..at + replaced, by.iter().copied());
    decode(resealed(&blob), key.borrow()).err()
}

#[test]
fn an_undamaged_response_that_cannot_have_been_stored_is_refused() {
    let key = key("/a");
    // 24 bytes of times, the flags, the status, no tags, no trailers, and the layout: 1, 9, 2, none.
    let put = Made::default().stored();
    let forged = |at, replaced, by: &[u8]| forged(&key, &put, at, replaced, by);
    assert_eq!(forged(24, 1, &[31]), None);
    assert_eq!(forged(25, 2, &999_u16.to_le_bytes()), None);
    assert_eq!(forged(27, 1, b"\x01\x02\xc3\xa9"), None);
    assert_eq!(forged(28, 1, b"\x02\x01\x01ab"), None);
    let refused: [(usize, usize, &[u8]); 18] = [
        (24, 1, &[32]),
        (25, 2, &99_u16.to_le_bytes()),
        (25, 2, &1_000_u16.to_le_bytes()),
        (25, 2, &103_u16.to_le_bytes()),
        (27, 1, b"\x01"),
        (27, 1, b"\x01\x02\xff\xff"),
        (27, 1, b"\xff\xff\xff\xff\x0f"),
        (28, 1, b"\x02\x01\x01Ab"),
        (28, 1, b"\x02\x01\x01a\n"),
        (28, 1, b"\x03\x01\x01ab"),
        (28, 1, b"\xff\xff\xff\xff\x0f"),
        (29, 1, b"\x00"),
        (29, 1, b"\x02"),
        (30, 1, b"\x0a"),
        (31, 1, b"\x00"),
        (31, 1, b"\xff\xff\xff\xff\x0f"),
        (32, 1, b"\x80\x01"),
        (35, 1, b"T"),
    ];
    for (at, replaced, by) in refused {
        let found = forged(at, replaced, by);
        assert_eq!(found, Some(Unfit::Malformed), "{by:?} at {at}");
    }
}

#[test]
fn undamaged_variants_that_cannot_have_been_stored_are_refused() {
    let (key, other) = (key("/a"), key("/b"));
    let variants = variants();
    let forged = |at, replaced, by: &[u8]| forged(&key, &variants, at, replaced, by);
    let refused: [(usize, usize, &[u8]); 6] = [
        (0, 1, b"\x02"),
        (0, 1, b"\x21"),
        (2, 1, b"A"),
        (17, 1, b"\x03"),
        // A variant of another key.
        (19, other.as_bytes().len(), other.as_bytes()),
        (17, 0, b"\x00"),
    ];
    assert_eq!(forged(2, 1, b"b"), None);
    for (at, replaced, by) in refused {
        let found = forged(at, replaced, by);
        assert_eq!(found, Some(Unfit::Malformed), "{by:?} at {at}");
    }
}

#[test]
fn a_length_that_is_not_the_bodys_is_refused() {
    for (stated, is_sent) in [("4", true), ("5", false), ("04", false), ("", false)] {
        let mut put = Made::default();
        let stated = HeaderValue::from_static(stated);
        put.headers.insert(CONTENT_LENGTH, stated.clone());
        let key = key("/a");
        let blob = encode(key.borrow(), &put.stored(), &stamp());
        assert_eq!(decode(blob, key.borrow()).is_ok(), is_sent, "{stated:?}");
    }
}

#[test]
fn a_value_is_kept_for_as_long_as_it_is_of_use() {
    let validators = [(CONTENT_TYPE, false), (ETAG, true), (LAST_MODIFIED, true)];
    let cases = [
        // Lifetime, swr, sie, age; and how long it is kept without and with a validator.
        ([10, 0, 0], 0, 10, 10 + 60),
        ([10, 5, 7], 0, 17, 17 + 60),
        ([10, 7, 5], 2, 15, 15 + 60),
        ([61, 0, 0], 0, 61, 61 + 61),
        ([3_600, 0, 0], 0, 3_600, 7_200),
        ([3_601, 0, 0], 0, 3_601, 7_201),
        ([10, 5, 5], 15, 1, 60),
        ([10, 5, 5], 100, 1, 60),
        ([0, 0, 0], 0, 1, 60),
        ([30 * 86_400, 1, 0], 0, 30 * 86_400, 30 * 86_400),
        ([u64::MAX, u64::MAX, 0], 5, 30 * 86_400, 30 * 86_400),
    ];
    for (windows, age, without, with) in cases {
        for (name, is_validator) in &validators {
            let put = Made {
                headers: HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]),
                windows: windows.map(Duration::from_secs),
                ..Made::default()
            };
            let expected = if *is_validator { with } else { without };
            let kept = keep_for(&put.stored(), Duration::from_secs(age));
            assert_eq!(kept.as_secs(), expected, "{windows:?} {age} {name}");
        }
    }
    assert_eq!(keep_for(&variants(), Duration::ZERO), DAY);
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        any::<u64>().prop_map(Duration::from_nanos),
    ]
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let byte = prop_oneof![4 => b' '..0x7f, 1 => 0x80..=u8::MAX, 1 => Just(b'\t')];
    let bytes = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(byte.clone(), 1..20),
        prop::collection::vec(byte, 120..140),
    ];
    bytes.prop_map(|bytes| HeaderValue::from_bytes(&bytes).expect("no control character"))
}

fn name() -> impl Strategy<Value = HeaderName> {
    let name = prop_oneof![
        3 => prop::sample::select(vec!["etag", "set-cookie", "x-a", "vary"]).prop_map(str::to_owned),
        1 => "[a-z0-9!#$%&'*+.^_`|~-]{1,9}",
        1 => "[a-z]{120,140}",
    ];
    name.prop_map(|name| name.parse().expect("a token"))
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    prop::collection::vec((name(), value()), 0..9).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        headers
    })
}

fn subject() -> impl Strategy<Value = Subject> {
    let tags = prop::collection::vec("\\PC{0,9}", 0..4);
    let path = "(/[a-z%2é. *]{0,5}){1,4}";
    (path, prop::option::of("[a-z%2?é&=]{0,9}"), tags).prop_map(|(path, query, tags)| {
        let tags: Vec<Box<str>> = tags.into_iter().map(Into::into).collect();
        Subject::new(&path, query.as_deref(), tags)
    })
}

fn any_response() -> impl Strategy<Value = Stored> {
    let body = prop_oneof![0..3_usize, 4_090..4_100_usize, 0..9_000_usize];
    let body = (body, any::<u8>()).prop_map(|(length, byte)| Bytes::from(vec![byte; length]));
    let reuse = any::<[bool; 5]>().prop_map(|[a, b, c, d, e]| Reuse {
        always_validate: a,
        never_stale: b,
        with_authorization: c,
        with_cookie: d,
        lifetime_by_handler: e,
    });
    let windows = [duration(), duration(), duration()];
    let trailers = prop::option::weighted(0.3, headers());
    (
        200_u16..1000,
        headers(),
        body,
        trailers,
        windows,
        reuse,
        subject(),
    )
        .prop_map(
            |(status, headers, body, trailers, windows, reuse, subject)| {
                let made = Made {
                    status: StatusCode::from_u16(status).expect("in bounds"),
                    headers,
                    body,
                    trailers,
                    windows,
                    reuse,
                    subject,
                };
                made.stored()
            },
        )
}

fn any_variants(key: Key) -> impl Strategy<Value = Stored> {
    let key = "\\PC{0,20}".prop_map(move |part| {
        let mut variant = KeyBuilder::extend(key.borrow());
        variant.part(part.as_bytes());
        variant.key().to_owned()
    });
    let optional = || prop::option::of(value());
    let variant = (key.clone(), prop::option::of(key), optional(), optional()).prop_map(
        |(key, any_language, etag, content_language)| Variant {
            key,
            any_language,
            etag,
            content_language,
        },
    );
    let names = prop::collection::vec(name(), 0..=32);
    let known = prop::collection::vec(variant, 0..5);
    (names, known).prop_map(|(names, known)| Stored::Variants(Arc::new(Variants { names, known })))
}

fn any_stored() -> impl Strategy<Value = (Key, Stored)> {
    let key = "/\\PC{0,40}".prop_map(|path| key(&path));
    key.prop_flat_map(|key| {
        let stored = prop_oneof![3 => any_response(), 1 => any_variants(key.clone())];
        (Just(key), stored)
    })
}

// `PROPTEST_CASES=100000` for a long run.
proptest! {
    #[test]
    fn everything_comes_back_as_it_went_in((key, put) in any_stored()) {
        assert_same(&sent(&key, &put), &put);
        // And from there to the next node.
        assert_same(&sent(&key, &sent(&key, &put)), &put);
    }

    #[test]
    fn any_damage_is_noticed(
        (key, put) in any_stored(),
        at in any::<Index>(),
        flipped in 1..=u8::MAX,
        added in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let blob = encode(key.borrow(), &put, &stamp());
        let at = at.index(blob.len());
        let mut changed = blob.to_vec();
        changed[at] ^= flipped;
        prop_assert!(decode(changed.into(), key.borrow()).is_err(), "changed at {}", at);
        prop_assert!(decode(blob.slice(..at), key.borrow()).is_err(), "cut off at {}", at);
        prop_assert!(decode(blob.slice(at + 1..), key.borrow()).is_err(), "begun at {}", at + 1);
        let longer = [&blob, &added[..]].concat();
        prop_assert!(decode(longer.into(), key.borrow()).is_err(), "{:?} added", added);
    }

    #[test]
    fn no_bytes_with_a_right_checksum_make_the_reader_panic(
        kind in 0..4_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        small in prop::collection::vec(0..4_u8, 0..60),
    ) {
        let mut blob = vec![0; FIXED + 1];
        blob[MAGIC.len() + 1] = kind;
        for behind in [&bytes, &small, &[&[0; 25][..], &small].concat()] {
            fuzzing::wire(&[&blob, behind, &[0; SUM][..]].concat());
        }
    }

    #[test]
    fn no_forged_value_makes_the_reader_panic(
        (key, put) in any_stored(),
        pieces in prop::collection::vec(
            (any::<Index>(), 0..4_usize, prop::collection::vec(any::<u8>(), 0..4)),
            1..4,
        ),
    ) {
        let mut blob = encode(key.borrow(), &put, &stamp()).to_vec();
        for (at, replaced, by) in pieces {
            // Most of what decides is before the body.
            let at = at.index(blob.len().min(400));
            blob.splice(at..blob.len().min(at + replaced), by);
        }
        fuzzing::wire(&blob);
    }
}
