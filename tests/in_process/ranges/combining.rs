//! Parts of one representation that become one.

use tower_response_cache::Policy;

use super::{DIGITS, Document, V1, ask_for};
use crate::support::{Bench, MINUTE, Origin, respond};

#[tokio::test]
async fn parts_of_one_representation_are_combined() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=0-3").await;
    assert_eq!(ask_for(&bench, "bytes=4-6").await.text(), "456");
    let both = ask_for(&bench, "bytes=2-5").await;
    assert_eq!((both.text(), both.x_cache()), ("2345", "HIT"));
    assert_eq!(ask_for(&bench, "bytes=5-9").await.text(), "56789");
    let whole = bench.get("/").await;
    assert_eq!(
        (whole.status.as_u16(), whole.text(), whole.x_cache()),
        (200, DIGITS, "HIT")
    );
    assert_eq!(bench.origin.calls(), 3);
}

#[tokio::test]
async fn a_combined_response_has_the_fields_of_both_parts() {
    let origin = Origin::script([
        respond(
            206,
            &[
                ("etag", V1),
                ("content-range", "bytes 0-4/10"),
                ("content-type", "text/plain"),
                ("x-part", "first"),
            ],
            "01234",
        ),
        respond(
            206,
            &[
                ("etag", V1),
                ("content-range", "bytes 5-9/10"),
                ("x-part", "second"),
            ],
            "56789",
        ),
    ]);
    let bench = Bench::new(Policy::ttl(MINUTE), origin);
    ask_for(&bench, "bytes=0-4").await;
    let fields = [("range", "bytes=5-9"), ("if-range", V1)];
    bench.get_with("/", &fields).await;
    let whole = bench.get("/").await;
    assert_eq!(
        (whole.status.as_u16(), whole.text(), whole.x_cache()),
        (200, DIGITS, "HIT")
    );
    assert_eq!(whole.field("content-type"), "text/plain");
    assert_eq!(whole.field("x-part"), "second");
    assert_eq!(whole.field("content-length"), "10");
}

#[tokio::test]
async fn parts_are_not_combined_without_the_same_strong_tag() {
    for (before, after) in [(V1, "\"v2\""), ("W/\"v1\"", "W/\"v1\"")] {
        let document = Document::new(DIGITS, before);
        let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
        ask_for(&bench, "bytes=0-4").await;
        document.change("abcdefghij", after);
        assert_eq!(ask_for(&bench, "bytes=5-9").await.text(), "fghij");
        let whole = bench.get("/").await;
        assert_eq!(
            (whole.status.as_u16(), whole.text()),
            (200, "abcdefghij"),
            "{after}"
        );
        let first = ask_for(&bench, "bytes=0-4").await;
        assert_eq!(first.text(), "abcde", "{after}");
    }
}

#[tokio::test]
async fn parts_with_a_gap_between_them_are_not_combined() {
    let document = Document::new(DIGITS, V1);
    let bench = Bench::new(Policy::ttl(MINUTE), document.origin());
    ask_for(&bench, "bytes=0-2").await;
    ask_for(&bench, "bytes=5-6").await;
    assert_eq!(ask_for(&bench, "bytes=0-6").await.text(), "0123456");
    let whole = bench.get("/").await;
    assert_eq!((whole.status.as_u16(), whole.text()), (200, DIGITS));
}
