//! Texts as small sets, to rule most globs out without matching them.

use crate::pattern::{Glob, Segment, UriPart, Wild};
use crate::target::SubjectRef;

/// Runs of characters in a longer text fill the set so far that it rules little out.
const MAX_SKETCHED_LEN: usize = 1024;

/// The runs of one, two and three bytes in a path and in a query, or more of them: a bit for each, by
/// its hash.
///
/// Every run in the literal text of a glob is in all that it matches. The hash has no seed, since
/// who chooses a path can put any run in it anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TextSketch([u64; 8]);

impl TextSketch {
    pub(super) fn of_subject(subject: SubjectRef<'_>) -> Self {
        let query = subject.query.unwrap_or("");
        if subject.path.len() + query.len() > MAX_SKETCHED_LEN {
            return Self([u64::MAX; 8]);
        }
        let mut sketch = Self::default();
        sketch.add(UriPart::Path, ["", subject.path, "/"]);
        sketch.add(UriPart::Query, ["?", query, "#"]);
        sketch
    }

    pub(super) fn of_glob(glob: &Glob) -> Self {
        let mut sketch = Self::default();
        for segment in glob.segments() {
            match segment {
                Segment::Any => {}
                Segment::Literal(text) => sketch.add(UriPart::Path, ["/", text, "/"]),
                Segment::Wild(wild) => sketch.add_pieces(UriPart::Path, ["/", "/"], wild),
            }
        }
        if let Some(namespace) = glob.namespace() {
            sketch.add(UriPart::Path, ["", namespace, "/"]);
        }
        if let Some(query) = glob.query() {
            sketch.add_pieces(UriPart::Query, ["?", "#"], query);
        }
        sketch
    }

    /// Returns whether all of this may be in another. It errs on one side only.
    #[inline]
    pub(super) fn may_be_in(&self, other: &Self) -> bool {
        let missing = |(ours, others): (&u64, &u64)| ours & !others;
        let missing = self.0.iter().zip(&other.0).map(missing);
        missing.fold(0, |all, word| all | word) == 0
    }

    /// Adds what stands between `begin` and `end`, with all that is known of what is there.
    fn add_pieces(&mut self, part: UriPart, [begin, end]: [&str; 2], wild: &Wild) {
        let pieces = wild.pieces();
        for (at, piece) in pieces.iter().enumerate() {
            let begin = if at == 0 { begin } else { "" };
            let end = if at + 1 == pieces.len() { end } else { "" };
            self.add(part, [begin, piece, end]);
        }
    }

    /// Adds all runs of a text that comes in pieces.
    fn add(&mut self, part: UriPart, text: [&str; 3]) {
        let (mut latest, mut length) = (0_u32, 0_u32);
        for byte in text.iter().flat_map(|piece| piece.bytes()) {
            latest = latest << 8 | u32::from(byte);
            length += 1;
            self.insert(part, latest & 0xff);
            if length > 1 {
                self.insert(part, latest & 0xffff | 1 << 24);
            }
            if length > 2 {
                self.insert(part, latest & 0xff_ffff | 2 << 24);
            }
        }
    }

    fn insert(&mut self, part: UriPart, run: u32) {
        // The upper bits of a product depend on all of its factors'.
        let hash = run.wrapping_mul(0x9e37_79b1) >> 16;
        // Each part has bits of its own: a long query must not fill those of the path.
        let bit = match part {
            UriPart::Path => (hash * 448) >> 16,
            UriPart::Query => 448 + ((hash * 64) >> 16),
        };
        self.0[bit as usize >> 6] |= 1 << (bit & 63);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::{Pattern, Shape};
    use crate::target::Subject;

    /// Returns whether the sketches alone rule out that a pattern, which has to be a glob, matches.
    fn ruled_out(pattern: &Pattern, path: &str, query: Option<&str>) -> bool {
        let subject = Subject::new(path, query, []);
        match pattern.shape() {
            Shape::Glob(glob) => {
                !TextSketch::of_glob(glob).may_be_in(&TextSketch::of_subject(subject.borrow()))
            }
            _ => false,
        }
    }

    const PATH: &str = "/api/v1/shops/17/products";
    const QUERY: Option<&str> = Some("lang=de&page=1");

    #[test]
    fn what_differs_within_a_segment_is_told_apart() {
        for (ours, other) in [
            ("/api/v1/shops/*/p*s", "/api/v1/shops/*/p17*s"),
            ("/api/v1/shops/*/*cts", "/api/v1/shops/*/*ctx"),
            ("/api/v1/*s/**/*", "/api/v1/*zz/**/*"),
            ("/api/**/products", "/api/**/product"),
            ("/**/17/*", "/**/7/*"),
            ("/api/**?*page=1*", "/api/**?*page=7*"),
            ("/api/**?lang*page=1", "/api/**?page=1*"),
        ] {
            let [ours, other] = [ours, other].map(|text| Pattern::parse(text).expect("a pattern"));
            assert!(ours.matches(PATH, QUERY), "{ours}");
            assert!(!ruled_out(&ours, PATH, QUERY), "{ours}");
            assert!(ruled_out(&other, PATH, QUERY), "{other}");
        }
    }

    #[test]
    fn two_letters_that_are_not_there_are_mostly_noticed() {
        let letters = || (b'a'..=b'z').map(char::from);
        let pairs = letters().flat_map(|one| letters().map(move |two| format!("{one}{two}")));
        let absent: Vec<_> = pairs.filter(|pair| !PATH.contains(pair)).collect();
        let noticed = absent.iter().filter(|pair| {
            let pattern = Pattern::parse(&format!("/api/**/*{pair}*")).expect("a pattern");
            ruled_out(&pattern, PATH, QUERY)
        });
        assert!(noticed.count() * 10 > absent.len() * 8);
    }

    proptest! {
        #[test]
        fn what_a_glob_matches_is_never_ruled_out(
            pieces in prop::collection::vec(("/?[a-cé/]{0,3}", "[a-c%?/é]{0,4}"), 1..5),
            query in prop::option::of(("[a-c=&?/]{0,3}", "[a-c=&?/]{0,4}")),
        ) {
            let join = |with: &dyn Fn(&str) -> String| {
                pieces.iter().map(|(literal, run)| format!("{literal}{}", with(run))).collect::<String>()
            };
            // A star takes no slash, two of them as a segment any number.
            let star = |run: &str| if run.contains('/') { "/**".to_owned() } else { "*".to_owned() };
            let text = |run: &str| if run.contains('/') { format!("/{run}") } else { run.to_owned() };
            let (mut pattern, path) = (format!("/{}", join(&star)), format!("/{}", join(&text)));
            if let Some((literal, _)) = &query {
                pattern = format!("{pattern}?{}*", Pattern::escape(literal));
            }
            let query = query.map(|(literal, run)| literal + &run);
            if let Ok(pattern) = Pattern::parse(&pattern)
                && pattern.matches(&path, query.as_deref())
            {
                prop_assert!(!ruled_out(&pattern, &path, query.as_deref()));
            }
        }
    }
}
