//! Request fields that matter on every route.

use http::header::HeaderName;

/// Request fields whose presence changes what is done with the request.
///
/// Handlers commonly build answers from `Forwarded`, `X-Forwarded-Host` and `X-Forwarded-Proto`
/// without saying so in `Vary`: they are part of the key. A request that is to be taken for another
/// one (`X-HTTP-Method-Override`, `X-Original-URL`, `X-Rewrite-URL`) is bypassed.
#[derive(Clone, Debug)]
pub(crate) struct FieldRules {
    /// Fields that are part of the key when present.
    pub(crate) keyed: Vec<HeaderName>,
    /// Fields that make a request one to bypass.
    pub(crate) bypassed: Vec<HeaderName>,
    /// The operator chose the fields: they may be any, those looked at for other reasons included.
    pub(crate) chosen: bool,
    /// A bit for each of the names, by length and first letter, to rule out at once most that are not
    /// among them.
    marks: u64,
}

impl FieldRules {
    /// Takes the measure of the names; to be called when all have been chosen.
    pub(crate) fn measured(mut self) -> Self {
        let names = self.keyed.iter().chain(&self.bypassed);
        self.marks = names.fold(0, |marks, name| marks | mark(name));
        self
    }

    /// Returns whether a field may be among those named. Most that are not are ruled out at once.
    pub(crate) fn may_name(&self, name: &HeaderName) -> bool {
        self.marks & mark(name) != 0
    }
}

impl Default for FieldRules {
    fn default() -> Self {
        Self {
            keyed: ["forwarded", "x-forwarded-host", "x-forwarded-proto"]
                .map(HeaderName::from_static)
                .into(),
            bypassed: [
                "x-http-method-override",
                "x-http-method",
                "x-method-override",
                "x-original-url",
                "x-rewrite-url",
            ]
            .map(HeaderName::from_static)
            .into(),
            chosen: false,
            marks: u64::MAX,
        }
    }
}

fn mark(name: &HeaderName) -> u64 {
    let name = name.as_str().as_bytes();
    let first = name.first().copied().map_or(0, usize::from);
    1 << ((name.len() + first) % 64)
}
