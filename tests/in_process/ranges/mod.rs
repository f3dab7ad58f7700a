//! Ranges of what is stored, and stored parts (RFC 9110 §14, RFC 9111 §3.3 and §3.4).

mod byte_ranges;
mod combining;
mod completing;
mod stored_parts;

use std::sync::{Arc, Mutex};

use http::{HeaderMap, Response};

use crate::support::{Answer, Bench, Origin, TestBody, respond};

const DIGITS: &str = "0123456789";
const V1: &str = "\"v1\"";

type Fields = &'static [(&'static str, &'static str)];

async fn ask_for(bench: &Bench, range: &str) -> Answer {
    bench.get_with("/", &[("range", range)]).await
}

/// An origin that answers ranges itself, of a text that the test can change.
#[derive(Clone)]
struct Document(Arc<Mutex<(&'static str, &'static str)>>);

impl Document {
    fn new(text: &'static str, etag: &'static str) -> Self {
        Self(Arc::new(Mutex::new((text, etag))))
    }

    fn change(&self, text: &'static str, etag: &'static str) {
        *self.0.lock().unwrap() = (text, etag);
    }

    /// Honours `Range` and `If-Range`.
    fn origin(&self) -> Origin {
        let document = self.clone();
        Origin::new(move |request, _| {
            let answer = document.answer(request.headers(), true);
            async move { answer }
        })
    }

    /// Honours `Range` and takes no notice of `If-Range`.
    fn careless_origin(&self) -> Origin {
        let document = self.clone();
        Origin::new(move |request, _| {
            let answer = document.answer(request.headers(), false);
            async move { answer }
        })
    }

    fn answer(&self, request: &HeaderMap, honours_if_range: bool) -> Response<TestBody> {
        let (text, etag) = *self.0.lock().unwrap();
        let unchanged = request
            .get("if-range")
            .is_none_or(|value| value.as_bytes() == etag.as_bytes() && !etag.starts_with("W/"));
        let range = request
            .get("range")
            .filter(|_| unchanged || !honours_if_range);
        let Some(range) = range else {
            return respond(200, &[("etag", etag)], text);
        };
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = match (first, last) {
            ("", length) => (
                text.len() - length.parse::<usize>().unwrap(),
                text.len() - 1,
            ),
            (first, "") => (first.parse().unwrap(), text.len() - 1),
            (first, last) => (first.parse().unwrap(), last.parse().unwrap()),
        };
        if first >= text.len() {
            let range = format!("bytes */{}", text.len());
            return respond(416, &[("content-range", &range)], "");
        }
        let last = last.min(text.len() - 1);
        let range = format!("bytes {first}-{last}/{}", text.len());
        respond(
            206,
            &[("etag", etag), ("content-range", &range)],
            &text[first..=last],
        )
    }
}
