//! Memory stays flat under bodies that are too large to store.

use std::alloc::System;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower_response_cache::Policy;

use crate::alone;
use crate::support::{Bench, BoxError, MINUTE, Origin, TestBody, request, respond_with};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;
const CHUNK: usize = 64 << 10;
const BODY: usize = 10 * MIB;

pub(crate) fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A body whose chunks are made as they are asked for.
fn large() -> TestBody {
    let chunks = (0..BODY / CHUNK).map(|number| {
        let chunk = Bytes::from(vec![number as u8; CHUNK]);
        Ok::<_, BoxError>(Frame::data(chunk))
    });
    StreamBody::new(stream::iter(chunks)).boxed_unsync()
}

/// Reads the body of a GET and returns its length and the most memory in use meanwhile.
async fn read(bench: &Bench, readers: usize) -> usize {
    let before = in_use();
    let mut bodies = Vec::new();
    for _ in 0..readers {
        bodies.push(bench.send(request("GET", "/a", &[])).await.into_body());
    }
    let mut most = 0;
    let mut read = 0;
    for number in 0..BODY / CHUNK {
        for body in &mut bodies {
            let chunk = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(chunk.len() == CHUNK && chunk[0] == number as u8);
            most = most.max(in_use().saturating_sub(before));
            read += chunk.len();
        }
    }
    for body in &mut bodies {
        assert!(body.frame().await.is_none());
    }
    assert_eq!(read, readers * BODY);
    most
}

#[tokio::test]
async fn a_body_over_the_limit_passes_whole_in_flat_memory() {
    alone!(a_body_over_the_limit_passes_whole_in_flat_memory);
    let length = BODY.to_string();
    let announced = [("content-length", length.as_str())];
    for (fields, readers, limit) in [
        (&announced[..], 1, MIB / 2),
        // Of unknown length: what is held up to the limit, and as much again for one that lags.
        (&[], 1, MIB + MIB / 2),
        (&[], 3, 2 * MIB + MIB / 2),
    ] {
        let origin = Origin::script([
            respond_with(200, fields, large()),
            respond_with(200, fields, large()),
        ]);
        let bench = Bench::new(Policy::ttl(MINUTE), origin);
        let most = read(&bench, readers).await;
        assert!(most <= limit, "{readers} readers, {fields:?}: {most} bytes");
        assert_eq!(bench.origin.calls(), 1);
        assert_eq!(bench.handle.stats().usage.entries, 0);
        // Nothing of it is left behind, and nothing was stored.
        read(&bench, 1).await;
        assert_eq!(bench.origin.calls(), 2);
    }
}
