//! Measures time, as a rough check on the instruction counts.

use std::time::Instant;

use crate::cases::Case;
use crate::request_of;

const SAMPLES: usize = 25;
const REQUESTS: u64 = 2_000;

/// Returns the nanoseconds of one request, without those of making the request.
pub(crate) fn nanoseconds(case: &Case) -> f64 {
    match case.is_request() {
        true => gross(case),
        false => gross(case) - gross(request_of(case)),
    }
}

fn gross(case: &Case) -> f64 {
    let mut client = case.client();
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let began = Instant::now();
            client.send(REQUESTS);
            began.elapsed().as_nanos() as f64 / REQUESTS as f64
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    samples[SAMPLES / 10]
}
