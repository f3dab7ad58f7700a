//! Switches that each take one guard away: `MUTANT` in the environment names the one that is missing.
//! Only in the copy that `tests/mutants/run` makes.

/// Returns whether a guard is missing: `crate::mutant::is!(FloorIgnored)`.
macro_rules! is {
    ($name:ident) => {{
        static IS: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
            std::env::var("MUTANT").is_ok_and(|name| name == stringify!($name))
        });
        *IS
    }};
}
pub(crate) use is;
