//! Stored responses that nodes share through Redis.

#[cfg_attr(
    not(test),
    expect(
        dead_code,
        unused_imports,
        reason = "the store that uses it comes next"
    )
)]
pub(crate) mod wire;
