//! Matching text against wildcards, in time that grows with the text and never faster.

use std::fmt;

/// Text in which each star stands for any run of characters: the pieces between the stars.
///
/// The first piece begins the text, the last ends it, and the others follow each other somewhere
/// between, so that finding each as far left as possible decides the match: there is nothing to
/// go back for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wild(Box<[Box<str>]>);

impl Wild {
    /// Takes the pieces; one piece has no star in it. No pieces are one empty piece.
    pub(super) fn new(mut pieces: Vec<String>) -> Self {
        if pieces.is_empty() {
            pieces.push(String::new());
        }
        let last = pieces.len() - 1;
        let keep = |(at, piece): (usize, String)| {
            (at == 0 || at == last || !piece.is_empty()).then(|| piece.into())
        };
        Self(pieces.into_iter().enumerate().filter_map(keep).collect())
    }

    /// Returns the text, if there is no star in it.
    pub(super) fn literal(&self) -> Option<&str> {
        match &*self.0 {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Returns whether this is a star and nothing else.
    pub(super) fn is_star(&self) -> bool {
        self.0.len() == 2 && self.0.iter().all(|piece| piece.is_empty())
    }

    /// Returns how many bytes of text there are.
    fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len() + 1).sum()
    }

    /// Returns the text that every match ends with.
    pub(super) fn tail(&self) -> &str {
        self.0.last().map_or("", |piece| piece)
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match &*self.0 {
            [] => text.is_empty(),
            [only] => text == &**only,
            [first, middle @ .., last] => text
                .strip_prefix(&**first)
                .and_then(|rest| rest.strip_suffix(&**last))
                .is_some_and(|rest| follow_each_other(middle, rest)),
        }
    }
}

fn follow_each_other(pieces: &[Box<str>], mut text: &str) -> bool {
    for piece in pieces {
        let Some(at) = text.find(&**piece) else {
            return false;
        };
        text = &text[at + piece.len()..];
    }
    true
}

impl fmt::Display for Wild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, piece) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("*")?;
            }
            write_literal(piece, f)?;
        }
        Ok(())
    }
}

/// Writes canonical text as a pattern has it. No other character means something and can stand
/// in canonical text.
pub(super) fn write_literal(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, run) in text.split('*').enumerate() {
        if at > 0 {
            f.write_str("\\*")?;
        }
        f.write_str(run)?;
    }
    Ok(())
}

/// One segment of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// `**`: any number of segments, none included.
    Any,
    /// One segment.
    One(Wild),
}

impl Segment {
    /// Returns the segment's text, if there is no wildcard in it.
    pub(super) fn literal(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::One(wild) => wild.literal(),
        }
    }
}

/// A pattern that no hash of a path can answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Glob {
    pub(super) segments: Box<[Segment]>,
    pub(super) query: Option<Wild>,
}

impl Glob {
    /// Returns whether this matches a path and query in canonical form. No query is an empty one.
    pub(super) fn matches(&self, path: &str, query: Option<&str>) -> bool {
        let query_matches = |wild: &Wild| wild.matches(query.unwrap_or(""));
        matches_path(&self.segments, path) && self.query.as_ref().is_none_or(query_matches)
    }

    /// Returns the segments before the first wildcard, each with its slash.
    pub(super) fn literal_prefix(&self) -> String {
        let literals = self.segments.iter().map_while(Segment::literal);
        literals.fold(String::new(), |prefix, segment| prefix + "/" + segment)
    }

    /// Returns the text that every path that matches ends with.
    pub(super) fn literal_tail(&self) -> &str {
        match self.segments.last() {
            Some(Segment::One(wild)) => wild.tail(),
            _ => "",
        }
    }

    /// Returns about how many bytes of text there are.
    pub(super) fn len(&self) -> usize {
        let segment = |segment: &Segment| match segment {
            Segment::Any => 3,
            Segment::One(wild) => wild.len(),
        };
        let path: usize = self.segments.iter().map(segment).sum();
        path + self.query.as_ref().map_or(0, Wild::len)
    }

    /// Returns whether wildcards stand only in the query.
    pub(super) fn has_literal_path(&self) -> bool {
        self.segments
            .iter()
            .all(|segment| segment.literal().is_some())
    }
}

/// Matches segment by segment. On a mismatch the latest `**` takes one segment more; those before
/// it need not be tried again, since what lies between them was found as far left as possible.
fn matches_path(segments: &[Segment], path: &str) -> bool {
    let mut at = 0;
    let mut rest = path.strip_prefix('/');
    let mut retry = None;
    loop {
        match (segments.get(at), rest) {
            (None, None) => return true,
            (Some(Segment::Any), _) => {
                at += 1;
                if at == segments.len() {
                    return true;
                }
                retry = Some((at, rest));
                continue;
            }
            (Some(Segment::One(wild)), Some(text)) => {
                let (segment, after) = split_segment(text);
                if wild.matches(segment) {
                    at += 1;
                    rest = after;
                    continue;
                }
            }
            _ => {}
        }
        let Some((after_any, Some(text))) = retry else {
            return false;
        };
        at = after_any;
        rest = split_segment(text).1;
        retry = Some((at, rest));
    }
}

fn split_segment(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (text, None),
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Any => f.write_str("/**")?,
                Segment::One(wild) => write!(f, "/{wild}")?,
            }
        }
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}
