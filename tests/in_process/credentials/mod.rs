//! Who may see a stored response: by default nobody but those it is the same for.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::support::{Bench, Origin, sent};

mod consent;
mod directives;
mod headers;
mod partitions;
mod refreshing;
mod set_cookie;
mod shown;
mod waiting;

const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];

/// An origin that answers with what the request says about who sent it.
fn personal(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::showing(fields, |request| {
        format!(
            "{}+{}",
            sent(request, "authorization"),
            sent(request, "cookie")
        )
    })
}

fn alice_and_bob(name: &'static str) -> [(&'static str, &'static str); 2] {
    [(name, "alice"), (name, "bob")]
}

/// Asks as Alice, as Bob and as nobody, twice, and asserts that each sees their own.
async fn assert_never_mixed(bench: &Bench, name: &'static str) {
    for _ in 0..2 {
        for field in alice_and_bob(name) {
            let answer = bench.get_with("/me", &[field]).await;
            assert!(answer.text().contains(field.1), "{field:?}: {answer:?}");
        }
        let nobody = bench.get("/me").await;
        assert_eq!(nobody.text(), "-+-");
    }
}
