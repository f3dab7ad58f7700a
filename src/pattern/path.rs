//! Patterns over paths and queries, from what was read of them.

use std::sync::Arc;

use super::canonical::{UriPart, encode};
use super::glob::{Glob, Segment, Wild};
use super::shape::Shape;
use super::template::{Template, Token};

/// Compiles what was read. A template's captures must have been bound.
pub(super) fn compile(template: &Template) -> Shape {
    let segments = segments(&template.path);
    let query = template.query.as_ref().map(|tokens| wild(tokens));
    // An absent query counts as empty, so a star alone asks nothing of it.
    classify(segments, query.filter(|query| !query.is_star()))
}

fn classify(segments: Vec<Segment>, query: Option<Wild>) -> Shape {
    let literals = segments.iter().map_while(Segment::literal).count();
    let prefix = || join(&segments[..literals]);
    match (&segments[literals..], query.as_ref().map(Wild::literal)) {
        ([], None) => Shape::Path(prefix()),
        ([], Some(Some(query))) => Shape::PathQuery(prefix(), query.into()),
        ([Segment::Any], None) if literals == 0 => Shape::Everything,
        ([Segment::Any], None) => Shape::Subtree(prefix()),
        ([Segment::Wild(last)], None) if last.is_star() => Shape::Children(prefix()),
        _ => Shape::Glob(Arc::new(Glob::new(segments, query))),
    }
}

fn join(segments: &[Segment]) -> Box<str> {
    let literals = segments.iter().filter_map(Segment::literal);
    literals
        .fold(String::new(), |path, segment| path + "/" + segment)
        .into()
}

/// Splits a path's tokens into segments in canonical form.
fn segments(tokens: &[Token]) -> Vec<Segment> {
    let mut path = PathBuilder::default();
    for token in tokens {
        match token {
            Token::Text(text) => path.text(text),
            Token::Star => path.pieces.push(String::new()),
            Token::Stars => path.any = true,
            Token::Capture(_) => debug_assert!(false, "captures are bound before compiling"),
        }
    }
    path.finish()
}

/// Makes the pieces between the stars of a query, in canonical form.
fn wild(tokens: &[Token]) -> Wild {
    let mut pieces = vec![String::new()];
    for token in tokens {
        match (token, pieces.last_mut()) {
            (Token::Text(text), Some(piece)) => piece.push_str(text),
            _ => pieces.push(String::new()),
        }
    }
    encoded(pieces, UriPart::Query)
}

fn encoded(pieces: Vec<String>, part: UriPart) -> Wild {
    let encode = |piece: String| {
        let mut encoded = String::with_capacity(piece.len());
        encode(&piece, part, &mut encoded);
        encoded
    };
    Wild::new(pieces.into_iter().map(encode).collect())
}

#[derive(Default)]
struct PathBuilder {
    segments: Vec<Segment>,
    /// The first slash was met; text before it is no segment.
    begun: bool,
    /// The raw pieces between the stars of the segment at hand.
    pieces: Vec<String>,
    /// The segment at hand is `**`.
    any: bool,
}

impl PathBuilder {
    fn text(&mut self, text: &str) {
        for (at, run) in text.split('/').enumerate() {
            if at > 0 {
                self.end_segment(false);
            }
            match self.pieces.last_mut() {
                Some(piece) => piece.push_str(run),
                None => self.pieces.push(run.to_owned()),
            }
        }
    }

    fn finish(mut self) -> Vec<Segment> {
        self.end_segment(true);
        self.segments
    }

    fn end_segment(&mut self, last: bool) {
        let pieces = std::mem::take(&mut self.pieces);
        let any = std::mem::take(&mut self.any);
        if !std::mem::replace(&mut self.begun, true) {
            return;
        }
        let segment = if any {
            Segment::Any
        } else {
            encoded(pieces, UriPart::Path).into()
        };
        self.push(segment, last);
    }

    /// Adds a segment as RFC 3986 §5.2.4 would: what is matched against has no dot segments.
    fn push(&mut self, segment: Segment, last: bool) {
        let behind_any = self.segments.last() == Some(&Segment::Any);
        match segment.literal() {
            // Whatever `..` would take from `**` is among what `**` covers.
            Some("." | "..") if behind_any => {}
            Some(dots @ ("." | "..")) => {
                if dots == ".." {
                    self.segments.pop();
                }
                if last {
                    self.segments.push(Segment::Literal("".into()));
                }
            }
            None if behind_any && segment == Segment::Any => {}
            _ => self.segments.push(segment),
        }
    }
}
