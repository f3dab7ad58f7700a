//! Switches that each take one guard away, so that the tests can show they would notice.
//!
//! There are none in an ordinary build: [`is`] is then a constant that the compiler folds away. With
//! `--cfg mutants` the environment variable `MUTANT` names the guard that is missing; `tests/mutants`
//! runs the simulations once for each of them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "one is asked for only where it can be")]
pub(crate) enum Mutant {
    /// A response counts from when it is stored, not from when its handler was called.
    PositionAtCommit,
    /// What is confirmed by a 304 counts from when the 304 arrived.
    RefreshPositionAfterCall,
    /// What a full log forgets does not count any more.
    FloorIgnored,
    EverythingIgnored,
    ExactIgnored,
    PrefixIgnored,
    GlobIgnored,
    TagIgnored,
    /// A lookup serves whatever is fresh.
    LookupVerdictSkipped,
    /// What was found valid once is valid for ever.
    VerdictCachedForEver,
    /// Invalidating removes what is stored, and does nothing else.
    DeleteOnly,
    JoinAny,
    /// Those who wait for a response are given it whatever its handler tagged it with.
    HandlerTagsIgnoredAtLanding,
    /// The leader of a flight looks once more, and takes what it finds.
    StoredMeanwhileUnjudged,
    /// A failing handler's place is taken by what was invalidated before.
    StaleIfErrorUnjudged,
    TagsLostOnValidation,
    /// A write whose client goes away records nothing.
    WriteUnguarded,
    RecordedAfterHead,
    OpenIntentsIgnored,
    /// What a two-phase write announced is good again when the store cannot record it.
    IntentForgottenOnFailure,
    HoldIgnored,
    HoldIgnoredAtJoin,
    /// What a POST answers is stored whatever came between.
    AnsweredPostUnjudged,
    AnsweredPostTagsIgnored,
    /// Nothing is stored at all.
    NothingStored,

    // Of several nodes that share a log: looked for by the simulation in src/store/redis/tests.
    //
    /// A server with another replication id goes on with the log it finds.
    HistoryIgnored,
    /// A server's log is doubted only where it has less than a node knows of.
    OnlyRegressNoticed,
    /// Positions of one epoch count in another.
    EpochIgnored,
    /// What the shared log forgets does not count any more.
    SharedFloorIgnored,
    /// A question is joined that was sent before.
    RunningRoundJoined,
    /// What could not be recorded may be used until it is.
    PendingNotHeld,
    /// What could not be recorded is not sent again.
    PendingNotSentAgain,
    /// A lease begins when its question is answered.
    LeaseFromAnswer,
    WritersDoNotWait,
}

/// Whether a guard is missing.
#[cfg(not(mutants))]
#[inline(always)]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}

/// Whether a guard is missing.
#[cfg(mutants)]
pub(crate) fn is(mutant: Mutant) -> bool {
    use std::sync::LazyLock;

    static MISSING: LazyLock<String> =
        LazyLock::new(|| std::env::var("MUTANT").unwrap_or_default());
    thread_local! {
        // Comparing names each time would take longer than the schedules.
        static KNOWN: std::cell::Cell<u128> = const { std::cell::Cell::new(0) };
    }
    let (known, missing) = (1 << (2 * mutant as u32), 2 << (2 * mutant as u32));
    let mut bits = KNOWN.get();
    if bits & known == 0 {
        let is_missing = *MISSING == format!("{mutant:?}");
        bits |= known | if is_missing { missing } else { 0 };
        KNOWN.set(bits);
    }
    bits & missing != 0
}
