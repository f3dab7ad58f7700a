//! The decision whether a response is stored, and the parts of it that are.

use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http_body::SizeHint;

use super::call::Interval;
use super::candidate::Candidate;
use super::context::ReadContext;
use crate::body::Captured;
use crate::clock::Now;
use crate::directive::{CacheDirective, KeptLifetime};
use crate::entry::{FieldWriter, PackedFields, Reuse, StoredResponse, Times};
use crate::invalidate::Position;
use crate::policy::{SetCookie, TtlPrecedence};
use crate::semantics::freshness::{self, Lifetime};
use crate::semantics::partial::{self, ContentRange, Partial};
use crate::semantics::storable::{self, Grants, RequestFacts, Storable, Unstorable};
use crate::semantics::targeted::{self, Directives};
use crate::semantics::vary::Vary;
use crate::semantics::{age, date, entity_tag, invalidation, validation};
use crate::target::Identity;
use crate::target::Subject;

/// All that is decided about a response when its head is there.
#[derive(Debug)]
pub(super) struct Plan {
    status: StatusCode,
    fields: PackedFields,
    times: Times,
    reuse: Reuse,
    pub(super) subject: Subject,
    pub(super) nominated: Vec<HeaderName>,
    /// When the inner service was called.
    pub(super) requested: Instant,
    /// The length the head announces.
    pub(super) expected: Option<u64>,
    /// The largest body with which it is stored.
    pub(super) max_body: usize,
    /// It is given an entity tag if it has none.
    etag: bool,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotStorable {
    /// The request said `no-store`.
    Request,
    /// The inner service's [`CacheDirective`].
    Directive,
    /// An event stream, gRPC, or another protocol.
    Stream,
    SetCookie,
    Credentials,
    Status,
    Vary,
    TooLarge,
    /// More tags than can be kept.
    Tags,
    /// Neither the inner service nor the route gives it a freshness lifetime, and it cannot be
    /// validated.
    NoFreshness,
    Standard(Unstorable),
}

impl NotStorable {
    /// The reason as `Cache-Status` gives it.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::Request => "request-no-store",
            Self::Directive => "directive",
            Self::Stream => "stream",
            Self::SetCookie => "set-cookie",
            Self::Credentials => "credentials",
            Self::Status => "status",
            Self::Vary => "vary",
            Self::TooLarge => "too-large",
            Self::Tags => "tags",
            Self::NoFreshness => "no-freshness",
            Self::Standard(reason) => reason.as_str(),
        }
    }
}

impl NotStorable {
    /// Returns whether the next response for the same key will be refused as well, as far as one
    /// can tell.
    pub(super) fn lasts(self, status: StatusCode) -> bool {
        let by_chance = status.is_server_error() || storable::is_requests_own_fault(status);
        self != Self::Request && !by_chance
    }
}

/// Decides whether a response to `asked` is stored.
pub(super) fn admit(
    read: &ReadContext,
    head: &Parts,
    length: &SizeHint,
    interval: Interval,
) -> Result<Plan, NotStorable> {
    let policy = &read.route.policy;
    let directive = head.extensions.get::<CacheDirective>();
    if read.directives.no_store {
        return Err(NotStorable::Request);
    }
    if directive.is_some_and(|directive| directive.no_store) {
        return Err(NotStorable::Directive);
    }
    if is_stream(head) {
        return Err(NotStorable::Stream);
    }
    if policy.set_cookie == SetCookie::NotStored && head.headers.contains_key(header::SET_COOKIE) {
        return Err(NotStorable::SetCookie);
    }
    if storable::has_too_many_fields(&head.headers) {
        return Err(NotStorable::TooLarge);
    }
    let nominated = nominated(&head.headers)?;
    let expected = announced(&head.headers, length);
    let most = policy.max_body.min(read.cache().max_body) as u64;
    if expected.unwrap_or_else(|| length.lower()) > most {
        return Err(NotStorable::TooLarge);
    }
    let directives = targeted::directives(&head.headers, &read.cache().targets);
    let storable = judge(read, head, &directives)?;
    let times = times(read, head, &directives, &storable, interval)?;
    let fields = stored_fields(read, head, &directives, expected, interval.received);
    let subject = subject(read, &head.headers, directive).ok_or(NotStorable::Tags)?;
    let around = fields.size() + around_body(read, &subject, &nominated);
    let room = read.cache().largest_entry.saturating_sub(around);
    if expected.is_some_and(|expected| expected > room as u64) {
        return Err(NotStorable::TooLarge);
    }
    Ok(Plan {
        status: head.status,
        fields,
        times,
        reuse: Reuse {
            always_validate: storable.always_validate,
            never_stale: storable.never_stale,
            with_authorization: storable.with_authorization,
            with_cookie: with_cookie(read, &storable, &directives),
            lifetime_by_handler: lifetime_by_handler(head).is_some(),
        },
        subject,
        nominated,
        requested: interval.requested.instant,
        expected,
        max_body: room.min(policy.max_body).min(read.cache().max_body),
        etag: policy.generate_etag,
    })
}

/// Returns about how much an entry takes besides its headers and its body, rather more than less.
fn around_body(read: &ReadContext, subject: &Subject, nominated: &[HeaderName]) -> usize {
    // Its numbers, an entity tag of ours, and what a store adds to an entry.
    const AROUND: usize = 512;
    let tags: usize = subject.tags().iter().map(|tag| tag.len() + 16).sum();
    let selecting: usize = nominated
        .iter()
        .flat_map(|name| read.headers.get_all(name))
        .map(HeaderValue::len)
        .sum();
    let subject = subject.borrow();
    let uri = subject.path().len() + subject.query().map_or(0, str::len);
    AROUND + uri + tags + selecting + read.key.borrow().as_bytes().len()
}

/// Returns whether a response is one that must not be held back, or that another protocol follows.
fn is_stream(head: &Parts) -> bool {
    let media_type = head
        .headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    let streams = media_type.is_some_and(|media_type| {
        let starts = |prefix: &[u8]| {
            media_type
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        starts(b"text/event-stream")
            || starts(b"application/grpc")
            || starts(b"multipart/x-mixed-replace")
    });
    streams || head.status == StatusCode::SWITCHING_PROTOCOLS || head.status.is_informational()
}

/// Returns the fields that select a response: those that its `Vary` nominates, and `Origin` where it
/// allows one origin by name. Browsers would refuse the answer to all others.
fn nominated(headers: &HeaderMap) -> Result<Vec<HeaderName>, NotStorable> {
    let mut names = match Vary::of(headers) {
        Vary::Absent => Vec::new(),
        Vary::Fields(names) => names,
        Vary::Any | Vary::TooMany => return Err(NotStorable::Vary),
    };
    // Looked up by itself first: most responses have none.
    let is_named = headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) && {
        let allowed = headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        allowed.iter().any(|origin| origin != "*")
    };
    if is_named && !names.contains(&header::ORIGIN) {
        names.push(header::ORIGIN);
    }
    Ok(names)
}

/// Returns the length that the head announces, where all that say one agree.
fn announced(headers: &HeaderMap, length: &SizeHint) -> Option<u64> {
    let mut announced = length.exact();
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let value = value
            .to_str()
            .ok()
            .and_then(|value| value.trim().parse().ok());
        match (announced, value) {
            (None, Some(value)) => announced = Some(value),
            (Some(known), Some(value)) if known == value => {}
            // A length that contradicts another can never be met: the body passes, and is not
            // stored.
            (Some(_), Some(_)) => return Some(u64::MAX),
            (_, None) => {}
        }
    }
    announced
}

fn judge(
    read: &ReadContext,
    head: &Parts,
    directives: &Directives,
) -> Result<Storable, NotStorable> {
    let flags = read.flags;
    let credentials = flags.is_authorized() || flags.cookie;
    if storable::answers_one_request(head.status, credentials) {
        return Err(NotStorable::Status);
    }
    if head.status == StatusCode::PARTIAL_CONTENT && !flags.range {
        // Nobody asked for a part.
        return Err(NotStorable::Standard(Unstorable::Partial));
    }
    let cautious = matches!(read.route.policy.identity, Identity::Cautious);
    let request = RequestFacts {
        no_store: false,
        authorization: cautious && read.flags.is_authorized(),
        cookie: cautious && read.flags.cookie,
    };
    let grants = Grants {
        partial: head.status == StatusCode::PARTIAL_CONTENT && is_single_part(&head.headers),
        lifetime: read
            .route
            .policy
            .ttl
            .for_status(head.status, read.ttl)
            .is_some(),
    };
    let storable = storable::judge(head.status, &head.headers, directives, &request, &grants)
        .map_err(NotStorable::Standard)?;
    if request.cookie && !with_cookie(read, &storable, directives) {
        return Err(NotStorable::Credentials);
    }
    if !read.route.policy.ttl.admits(head.status) {
        return Err(NotStorable::Status);
    }
    Ok(storable)
}

/// Returns whether a 206 is one that can be stored: a single part (RFC 9111 §3.3).
fn is_single_part(headers: &HeaderMap) -> bool {
    let range = headers.get(header::CONTENT_RANGE);
    range.is_some_and(|range| ContentRange::parse(range.as_bytes()).is_some())
}

/// Returns whether a response may be used for requests with cookies: if it says that it is for
/// everyone, or states a freshness where the inner service decides everything.
fn with_cookie(read: &ReadContext, storable: &Storable, directives: &Directives) -> bool {
    let control = &directives.cache_control;
    let shared = control.public || control.s_maxage.is_some();
    shared || storable.stated && read.route.policy.ttl.origin == TtlPrecedence::OriginOnly
}

/// A lifetime that the inner service states outside the headers.
enum ByHandler {
    Says(Duration),
    /// It said so of the stored response that this one confirms, whose lifetime this was.
    Said(Duration),
}

fn lifetime_by_handler(head: &Parts) -> Option<ByHandler> {
    let said = head.extensions.get::<KeptLifetime>();
    let directive = head.extensions.get::<CacheDirective>();
    let says = directive.and_then(|directive| directive.ttl);
    says.map(ByHandler::Says)
        .or(said.map(|said| ByHandler::Said(said.0)))
}

fn times(
    read: &ReadContext,
    head: &Parts,
    directives: &Directives,
    storable: &Storable,
    interval: Interval,
) -> Result<Times, NotStorable> {
    let policy = &read.route.policy;
    let control = &directives.cache_control;
    let stated = freshness::lifetime(head.status, &head.headers, directives, interval.received);
    // A part lives as long as the whole would.
    let status = match head.status {
        StatusCode::PARTIAL_CONTENT => StatusCode::OK,
        status => status,
    };
    let by_route = policy.ttl.for_status(status, read.ttl);
    let by_handler = lifetime_by_handler(head);
    let lifetime = match (&by_handler, policy.ttl.origin, stated) {
        (Some(ByHandler::Says(ttl) | ByHandler::Said(ttl)), _, _) => Some(*ttl),
        (None, TtlPrecedence::RouteFirst, stated) => by_route.or(explicit(stated)),
        (None, TtlPrecedence::OriginFirst, stated) => explicit(stated).or(by_route),
        (None, TtlPrecedence::OriginOnly, Lifetime::Explicit(lifetime)) => Some(lifetime),
        (None, TtlPrecedence::OriginOnly, Lifetime::Heuristic(lifetime)) => {
            by_route.or(Some(lifetime))
        }
        (None, TtlPrecedence::OriginOnly, Lifetime::Unstated) => by_route,
    };
    let can_be_validated =
        head.headers.contains_key(header::ETAG) || head.headers.contains_key(header::LAST_MODIFIED);
    let staleness = policy.staleness;
    let window = |stated: Option<Duration>, ours: Option<Duration>| match storable.never_stale {
        true => Duration::ZERO,
        false => stated.or(ours).unwrap_or_default(),
    };
    let stale_while_revalidate = window(control.stale_while_revalidate, staleness.while_revalidate);
    let stale_if_error = window(control.stale_if_error, staleness.if_error);
    let lifetime = match (lifetime, storable.always_validate) {
        (_, true) if can_be_validated => Duration::ZERO,
        (Some(lifetime), false) if !lifetime.is_zero() => lifetime,
        (Some(_), false) if can_be_validated || !stale_while_revalidate.is_zero() => Duration::ZERO,
        // Stale from the start and of no further use, or no word on freshness at all.
        _ => return Err(NotStorable::NoFreshness),
    };
    let lifetime = match by_handler {
        // Clamped and jittered it was when it was stored.
        Some(ByHandler::Said(_)) => lifetime,
        _ => policy.ttl.adjust(lifetime, seed(read, interval)),
    };
    Ok(Times {
        received: interval.received.instant,
        initial_age: age::initial_age(&head.headers, interval.requested, interval.received),
        lifetime,
        stale_while_revalidate,
        stale_if_error,
    })
}

/// Returns whether a response says for how long it is fresh.
pub(super) fn states_freshness(read: &ReadContext, headers: &HeaderMap) -> bool {
    let directives = targeted::directives(headers, &read.cache().targets);
    freshness::is_explicit(headers, &directives)
}

fn explicit(stated: Lifetime) -> Option<Duration> {
    match stated {
        Lifetime::Explicit(lifetime) => Some(lifetime),
        Lifetime::Heuristic(_) | Lifetime::Unstated => None,
    }
}

/// Spreads the jitter: differs from response to response.
fn seed(read: &ReadContext, interval: Interval) -> u64 {
    foldhash::fast::FixedState::default()
        .hash_one((read.key.borrow().hash64(), interval.received.instant))
}

/// Returns the stored head, completed: with the date of the response (RFC 9110 §6.6.1 wants it of
/// one that is stored), and its true length where it announced one.
fn stored_fields(
    read: &ReadContext,
    head: &Parts,
    directives: &Directives,
    expected: Option<u64>,
    received: Now,
) -> PackedFields {
    let set_cookie = read.route.policy.set_cookie != SetCookie::StoredWithout;
    let no_cache = &directives.cache_control.no_cache;
    let mut fields = FieldWriter::with_room_for(&head.headers);
    let mut dated = false;
    for (name, value) in storable::stored_fields(&head.headers, no_cache) {
        if invalidation::is_for_this_cache(name) || (*name == header::SET_COOKIE && !set_cookie) {
            continue;
        }
        dated |= *name == header::DATE;
        fields.push(name, value.as_bytes());
    }
    if !dated {
        fields.push(&header::DATE, &date::format(received.wall));
    }
    if let (true, Some(length)) = (head.headers.contains_key(header::CONTENT_LENGTH), expected) {
        let mut digits = itoa::Buffer::new();
        let length = digits.format(length);
        fields.push(&header::CONTENT_LENGTH, length.as_bytes());
    }
    fields.finish()
}

/// Adds the date of a response that came without one.
pub(super) fn add_date(headers: &mut HeaderMap, received: Now) {
    if let Ok(date) = HeaderValue::from_bytes(&date::format(received.wall)) {
        headers.insert(header::DATE, date);
    }
}

/// Adds the inner service's tags to those of the policy. `None` where it named more than can be
/// kept: an invalidation by one of those left out would pass the response by.
pub(super) fn subject(
    read: &ReadContext,
    headers: &HeaderMap,
    directive: Option<&CacheDirective>,
) -> Option<Subject> {
    if directive.is_none_or(|directive| directive.tags.is_empty())
        && !invalidation::names_any(headers)
    {
        return Some(read.subject.clone());
    }
    let by_field = invalidation::tags(headers);
    let by_group = invalidation::groups(headers);
    if by_field.overflow || by_group.overflow {
        return None;
    }
    let by_handler = directive
        .into_iter()
        .flat_map(|directive| directive.tags.iter().cloned());
    let mut tags = read.subject.tags().to_vec();
    for tag in by_handler.chain(by_field.names).chain(by_group.names) {
        if !tags.iter().any(|known| **known == *tag) {
            tags.push(tag.into());
        }
    }
    Some(read.subject.clone().with_tags(tags))
}

/// The most tags that a response may gather while it is updated.
const MOST_TAGS: usize = 2 * invalidation::MAX_NAMES;

impl Plan {
    /// Returns how old the response was when it was received, and when that was.
    pub(super) fn aged(&self) -> (Duration, Instant) {
        (self.times.initial_age, self.times.received)
    }

    /// Adds the tags of what is stored already to those of a response that updates it: a 304 need
    /// not repeat what the inner service said beside the 200, and an invalidation by one of them is
    /// still meant for it.
    pub(super) fn keep_tags(&mut self, stored: &StoredResponse) {
        let mut tags = self.subject.tags().to_vec();
        for tag in stored.subject().tags() {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        self.subject = self.subject.clone().with_tags(tags);
    }

    /// Does the same for a response that may be updated again and again.
    pub(super) fn with_tags_of(mut self, updated: &StoredResponse) -> Result<Self, NotStorable> {
        self.keep_tags(updated);
        let most = updated.subject().tags().len().max(MOST_TAGS);
        match self.subject.tags().len() > most {
            true => Err(NotStorable::Tags),
            false => Ok(self),
        }
    }

    /// Makes the response to be stored. `None` where the body turns out not to be what the head
    /// announced it to be.
    pub(super) fn into_stored(
        mut self,
        captured: Captured,
        position: Position,
        candidate: &Candidate,
    ) -> Option<StoredResponse> {
        let mut body = captured.body;
        if self.status == StatusCode::PARTIAL_CONTENT {
            body = self.join(body, candidate)?;
        }
        if self.etag && self.status == StatusCode::OK && self.fields.head().etag().is_none() {
            let mut headers = self.fields.head().to_map(1);
            headers.insert(header::ETAG, entity_tag::generate(&body));
            self.fields = (&headers).into();
        }
        Some(StoredResponse::new(
            self.status,
            self.fields,
            body,
            captured.trailers,
            self.times,
            self.reuse,
            self.subject,
            position,
        ))
    }

    /// Joins a part to the part that is stored, if they are of one representation, and makes a 200
    /// of what turns out to be the whole (RFC 9111 §3.4).
    fn join(&mut self, body: Bytes, candidate: &Candidate) -> Option<Bytes> {
        let mut headers = self.fields.head().to_map(0);
        let range = headers.get(header::CONTENT_RANGE);
        let mut part = Partial::new(range.map(HeaderValue::as_bytes), body)?;
        if let Candidate::Beside(stored) = candidate {
            let etag = headers.get(header::ETAG).map(HeaderValue::as_bytes);
            if partial::same_representation(stored.head().etag(), etag)
                && let Some(joined) = stored.part().and_then(|stored| stored.combine(&part))
            {
                part = joined;
                // An answer to `If-Range` leaves out what its client knows (RFC 9110 §15.3.7).
                headers = validation::freshen(&stored.head().to_map(0), &headers);
                if storable::has_too_many_fields(&headers) {
                    return None;
                }
                self.keep_tags(stored);
            }
        }
        let body = match part.whole() {
            Some(whole) => {
                self.status = StatusCode::OK;
                partial::set_whole(&mut headers, whole.len() as u64);
                whole.clone()
            }
            None => {
                let (range, body) = part.into_parts();
                headers.insert(header::CONTENT_RANGE, range);
                body
            }
        };
        self.fields = (&headers).into();
        Some(body)
    }

    /// Returns when a request that comes then may no longer be given the response as it is; `None`
    /// for never.
    pub(super) fn servable_until(&self) -> Option<Instant> {
        let times = &self.times;
        let useful = times.lifetime.saturating_add(times.stale_while_revalidate);
        times
            .received
            .checked_add(useful.saturating_sub(times.initial_age))
    }

    /// Returns whether every request has to ask the inner service.
    pub(super) fn is_always_validated(&self) -> bool {
        self.reuse.always_validate
    }

    /// The head as another client may be given it.
    pub(super) fn fields(&self) -> &PackedFields {
        &self.fields
    }
}
