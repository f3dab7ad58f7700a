//! Matching text against wildcards, in time that grows with the text and never faster.

use std::fmt;

/// Texts up to this many bytes are searched byte by byte.
const SHORT: usize = 64;

/// Text in which each star stands for any run of characters: the pieces between the stars.
///
/// The first piece begins the text, the last ends it, and the others follow each other somewhere
/// between, so that finding each as far left as possible decides the match: there is nothing to
/// go back for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wild(Box<[Box<str>]>);

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

    /// Returns what comes before the star, if there is one star, and it is the end.
    pub(super) fn prefix(&self) -> Option<&str> {
        match &*self.0 {
            [prefix, last] if last.is_empty() => Some(prefix),
            _ => None,
        }
    }

    /// Returns whether this is a star and nothing else.
    pub(super) fn is_star(&self) -> bool {
        self.0.len() == 2 && self.0.iter().all(|piece| piece.is_empty())
    }

    /// Returns the text between the stars; the first and the last piece may be empty.
    pub(crate) fn pieces(&self) -> &[Box<str>] {
        &self.0
    }

    /// Returns how many bytes of text there are.
    fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len() + 1).sum()
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match &*self.0 {
            [] => text.is_empty(),
            [only] => text == &**only,
            [first, middle @ .., last] => {
                between(first, text, last).is_some_and(|between| follow_each_other(middle, between))
            }
        }
    }
}

/// Takes `first` off the beginning of a text and `last` off the end of the rest.
fn between<'a>(first: &str, text: &'a str, last: &str) -> Option<&'a str> {
    // Stars often stand at either end. An empty piece has no address, and where `memcmp` loads
    // under a mask, as with AVX-512, looking there takes a hundred times as long as not to.
    let rest = match first {
        "" => text,
        first => text.strip_prefix(first)?,
    };
    match last {
        "" => Some(rest),
        last => rest.strip_suffix(last),
    }
}

fn follow_each_other(pieces: &[Box<str>], mut text: &str) -> bool {
    for piece in pieces {
        let Some(rest) = behind(piece, text) else {
            return false;
        };
        text = rest;
    }
    true
}

/// Returns what is behind the first place where a piece stands in a text.
fn behind<'a>(piece: &str, text: &'a str) -> Option<&'a str> {
    // Segments are short. The search of the standard library, which never takes more time than the
    // text is long, would spend ten times as much on preparing itself.
    if text.len() > SHORT {
        return text.split_once(piece).map(|(_, behind)| behind);
    }
    let starts = text.bytes().enumerate();
    let first = piece.bytes().next();
    starts
        .filter(|(_, byte)| Some(*byte) == first)
        .find_map(|(at, _)| text.get(at..)?.strip_prefix(piece))
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
pub(crate) fn write_literal(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, run) in text.split('*').enumerate() {
        if at > 0 {
            f.write_str("\\*")?;
        }
        f.write_str(run)?;
    }
    Ok(())
}

/// A part of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// `**`: any number of segments, none included.
    Any,
    /// One segment, or several in a [`Glob`], and no wildcard in them.
    Literal(Box<str>),
    /// One segment with a wildcard.
    Wild(Wild),
}

impl Segment {
    /// Returns the segment's text, if there is no wildcard in it.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Any | Self::Wild(_) => None,
        }
    }

    /// Takes this off the beginning of `text`, and returns what is behind the next slash.
    fn take<'a>(&self, text: &'a str) -> Option<Option<&'a str>> {
        match self {
            Self::Any => None,
            Self::Literal(literal) => match text.strip_prefix(&**literal)? {
                "" => Some(None),
                rest => rest.strip_prefix('/').map(Some),
            },
            Self::Wild(wild) => {
                let (segment, rest) = split_segment(text);
                wild.matches(segment).then_some(rest)
            }
        }
    }
}

impl From<Wild> for Segment {
    fn from(wild: Wild) -> Self {
        match wild.literal() {
            Some(literal) => Self::Literal(literal.into()),
            None => Self::Wild(wild),
        }
    }
}

/// A pattern that no hash of a path can answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Glob {
    path: PathGlob,
    query: Option<Wild>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PathGlob {
    Segments(Box<[Segment]>),
    /// The path of a namespace of values, which is no path of segments.
    Namespace(Box<str>),
}

impl Glob {
    /// Makes one text of literal segments that follow each other: one comparison decides on all.
    pub(super) fn new(segments: Vec<Segment>, query: Option<Wild>) -> Self {
        let mut joined = Vec::with_capacity(segments.len());
        let mut run: Option<String> = None;
        for segment in segments {
            match (&mut run, segment) {
                (Some(run), Segment::Literal(next)) => {
                    run.push('/');
                    run.push_str(&next);
                }
                (None, Segment::Literal(first)) => run = Some(first.into()),
                (_, segment) => {
                    joined.extend(run.take().map(|run| Segment::Literal(run.into())));
                    joined.push(segment);
                }
            }
        }
        joined.extend(run.map(|run| Segment::Literal(run.into())));
        Self {
            path: PathGlob::Segments(joined.into()),
            query,
        }
    }

    /// Makes a glob over the keys of a namespace of values.
    pub(super) fn of_keys(namespace: Box<str>, key: Wild) -> Self {
        Self {
            path: PathGlob::Namespace(namespace),
            query: Some(key),
        }
    }

    /// Returns whether this matches a path and query in canonical form. No query is an empty one.
    pub(crate) fn matches(&self, path: &str, query: Option<&str>) -> bool {
        let query_matches = |wild: &Wild| wild.matches(query.unwrap_or(""));
        let path_matches = match &self.path {
            PathGlob::Segments(segments) => matches_path(segments, path),
            PathGlob::Namespace(namespace) => path == &**namespace,
        };
        path_matches && self.query.as_ref().is_none_or(query_matches)
    }

    /// Returns what is before the first wildcard, up to a slash; `None` where there is nothing.
    pub(crate) fn literal_prefix(&self) -> Option<String> {
        match &self.path {
            PathGlob::Segments(segments) => {
                let first = segments.first()?.literal()?;
                Some(format!("/{first}"))
            }
            PathGlob::Namespace(namespace) => Some(namespace.to_string()),
        }
    }

    /// Returns the segments of the path; none where it is a namespace.
    pub(crate) fn segments(&self) -> &[Segment] {
        match &self.path {
            PathGlob::Segments(segments) => segments,
            PathGlob::Namespace(_) => &[],
        }
    }

    /// Returns the path of the namespace, if this is a glob over its keys.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match &self.path {
            PathGlob::Segments(_) => None,
            PathGlob::Namespace(namespace) => Some(namespace),
        }
    }

    pub(crate) fn query(&self) -> Option<&Wild> {
        self.query.as_ref()
    }

    /// Returns about how many bytes of text there are.
    pub(crate) fn len(&self) -> usize {
        let segment = |segment: &Segment| match segment {
            Segment::Any => 3,
            Segment::Literal(text) => text.len() + 1,
            Segment::Wild(wild) => wild.len(),
        };
        let path = match &self.path {
            PathGlob::Segments(segments) => segments.iter().map(segment).sum(),
            PathGlob::Namespace(namespace) => namespace.len(),
        };
        path + self.query.as_ref().map_or(0, Wild::len)
    }

    /// Returns whether wildcards stand only in the query.
    pub(crate) fn has_literal_path(&self) -> bool {
        match &self.path {
            PathGlob::Segments(segments) => matches!(&**segments, [Segment::Literal(_)]),
            PathGlob::Namespace(_) => true,
        }
    }
}

/// Matches segment by segment. On a mismatch the latest `**` takes one segment more; those before
/// it need not be tried again, since what lies between them was found as far left as possible.
fn matches_path(segments: &[Segment], path: &str) -> bool {
    if !path.starts_with('/') {
        return false;
    }
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
            (Some(segment), Some(text)) => {
                if let Some(after) = segment.take(text) {
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
    // Segments are short: this is faster than a search made for long texts.
    match text.bytes().position(|byte| byte == b'/') {
        Some(slash) => (&text[..slash], Some(&text[slash + 1..])),
        None => (text, None),
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let PathGlob::Namespace(namespace) = &self.path {
            write_literal(namespace, f)?;
        }
        for segment in self.segments() {
            match segment {
                Segment::Any => f.write_str("/**")?,
                Segment::Literal(text) => {
                    f.write_str("/")?;
                    write_literal(text, f)?;
                }
                Segment::Wild(wild) => write!(f, "/{wild}")?,
            }
        }
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}
