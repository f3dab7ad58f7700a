//! Every order of two or three threads, by loom. See `src/models.rs`.
#![cfg(loom_model)]

macro_rules! models {
    ($($model:ident)*) => {$(
        #[test]
        fn $model() {
            tower_response_cache::models::$model();
        }
    )*};
}

models! {
    a_fill_beside_a_write
    a_verdict_after_an_acknowledgement
    remembered_verdicts_beside_a_write
    a_two_phase_write_beside_a_lookup
    flights_are_joined_landed_and_left
    a_flight_overtaken_by_a_write
    readers_wake_each_other
    a_reader_that_leaves_wakes_the_other
}
