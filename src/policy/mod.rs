//! Per-route choices: what may be stored, for how long, under which key, and for whom.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderName;
use http::request::Parts;

mod evict;
mod fields;
mod reach;
mod route;
mod ttl;

pub use evict::Evict;
pub(crate) use evict::Terms;
pub(crate) use fields::{FieldRules, Treatment};
pub use route::Routes;
pub(crate) use route::{Evictions, Route, RouteTable};
pub(crate) use ttl::{RequestTtl, Ttl, TtlPrecedence};

use crate::target::{Identity, KeyPart, KeyRule};

/// The way one route is cached.
///
/// A policy starts from [`ttl`](Self::ttl), [`ttl_with`](Self::ttl_with),
/// [`origin_decides`](Self::origin_decides) or [`bypass`](Self::bypass) and is refined by the other
/// methods. Without any of those the safe defaults hold: responses to requests with credentials are
/// not shared, `Set-Cookie` is not stored, `Vary` is honoured, and what the handler says in
/// `Cache-Control` wins over the TTL given here.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::Policy;
///
/// let catalogue = Policy::ttl(Duration::from_secs(600))
///     .stale_while_revalidate(Duration::from_secs(60))
///     .ignore_query(["utm_source", "utm_medium"])
///     .tag("catalogue");
/// # let _ = catalogue;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Policy {
    pub(crate) bypass: bool,
    pub(crate) ttl: Ttl,
    pub(crate) key: KeyRule,
    pub(crate) no_vary_search: Option<String>,
    pub(crate) condition: Option<Condition>,
    pub(crate) identity: Identity,
    pub(crate) set_cookie: SetCookie,
    pub(crate) staleness: Staleness,
    pub(crate) tags: Vec<String>,
    pub(crate) max_body: usize,
    pub(crate) max_variants: usize,
    pub(crate) collapsing: CollapsingRules,
    pub(crate) honour_request_directives: bool,
    pub(crate) generate_etag: bool,
    /// Two choices that exclude each other, for [`check`](Self::check) to refuse.
    contradiction: Option<&'static str>,
}

/// The treatment of a response that sets cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetCookie {
    NotStored,
    Stored,
    StoredWithout,
}

/// A predicate on requests.
#[derive(Clone)]
pub(crate) struct Condition(pub(crate) Arc<dyn Fn(&Parts) -> bool + Send + Sync>);

/// For how long a stale response stays useful.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Staleness {
    pub(crate) while_revalidate: Option<Duration>,
    pub(crate) if_error: Option<Duration>,
    /// A fresh response with less left than this is refreshed in the background.
    pub(crate) refresh_ahead: Duration,
    /// How long a request with a stale response to fall back on waits for the handler.
    pub(crate) soft_timeout: Option<Duration>,
    /// How long any read waits for the head of the handler's response.
    pub(crate) hard_timeout: Option<Duration>,
}

/// How concurrent misses share one handler call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollapsingRules {
    pub(crate) on: bool,
    pub(crate) max_wait: Duration,
    pub(crate) finish_abandoned: bool,
}

/// The largest body stored unless the policy says otherwise: 1 MiB.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// Responses kept for one key beside each other, selected by `Vary`, unless the policy says
/// otherwise.
const MAX_VARIANTS: usize = 32;

/// How long a request waits for another's handler call before it makes its own.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(10);

const IDENTITIES: &str = "`shared_with_everyone` and `partition_by` exclude each other, and there is \
    one `partition_by`; choose one";

impl Policy {
    /// Stores responses for `ttl` unless the handler says otherwise.
    ///
    /// The TTL applies to answers with status 200, 203 and 204 whose handler states no freshness of
    /// its own; see [`ttl_for`](Self::ttl_for) and [`negative_ttl`](Self::negative_ttl) for others.
    /// A handler's `no-store`, `private`, `max-age`, `s-maxage` or `Expires` wins, unless
    /// [`ttl_overrides`](Self::ttl_overrides) is set.
    pub fn ttl(ttl: Duration) -> Self {
        Self::new(Ttl::fixed(ttl))
    }

    /// Stores responses for a time that depends on the request: a [`Duration`], or an
    /// `Option<Duration>` whose `None` means that this request is not cached at all.
    ///
    /// The function is called once for each request to the route, on a hit as well, so that `None`
    /// is a condition; keep it cheap.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::request::Parts;
    /// use tower_response_cache::Policy;
    ///
    /// // The newest page changes often, older ones hardly ever.
    /// fn recent_or_older(request: &Parts) -> Duration {
    ///     let query = request.uri.query().unwrap_or("");
    ///     let first_page = !query.contains("offset=") || query.contains("offset=0");
    ///     Duration::from_secs(if first_page { 30 } else { 60 })
    /// }
    /// let messages = Policy::ttl_with(recent_or_older);
    /// # let _ = messages;
    /// ```
    pub fn ttl_with<F, T>(ttl: F) -> Self
    where
        F: Fn(&Parts) -> T + Send + Sync + 'static,
        T: Into<Option<Duration>>,
    {
        Self::new(Ttl::by_request(Arc::new(move |parts| ttl(parts).into())))
    }

    /// Leaves everything to the handler's header fields, as an HTTP cache in front of it would:
    /// `Cache-Control`, `Expires`, and heuristic freshness from `Last-Modified`
    /// ([RFC 9111 §4.2.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2)).
    ///
    /// Responses may also be used stale for up to an hour where the handler fails with 500, 502, 503 or
    /// 504 and nothing forbids it
    /// ([RFC 9111 §4.2.4](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.4)); set
    /// [`stale_if_error`](Self::stale_if_error) to zero to forbid it.
    pub fn origin_decides() -> Self {
        let mut policy = Self::new(Ttl::origin_decides());
        policy.staleness.if_error = Some(Duration::from_secs(3600));
        policy
    }

    /// Gives a TTL to responses for which the handler states no freshness, on top of
    /// [`origin_decides`](Self::origin_decides); where the function returns `None`, the handler's
    /// word, or heuristic freshness, is all there is.
    pub fn default_ttl_with<F, T>(mut self, ttl: F) -> Self
    where
        F: Fn(&Parts) -> T + Send + Sync + 'static,
        T: Into<Option<Duration>>,
    {
        self.ttl
            .set_default(Arc::new(move |parts| ttl(parts).into()));
        self
    }

    /// Never caches: requests go straight to the inner service.
    pub fn bypass() -> Self {
        let mut policy = Self::new(Ttl::fixed(Duration::ZERO));
        policy.bypass = true;
        policy
    }

    fn new(ttl: Ttl) -> Self {
        Self {
            bypass: false,
            ttl,
            key: KeyRule::default(),
            no_vary_search: None,
            condition: None,
            identity: Identity::Cautious,
            set_cookie: SetCookie::NotStored,
            staleness: Staleness::default(),
            tags: Vec::new(),
            max_body: MAX_BODY,
            max_variants: MAX_VARIANTS,
            collapsing: CollapsingRules {
                on: true,
                max_wait: MAX_WAIT,
                finish_abandoned: true,
            },
            honour_request_directives: false,
            generate_etag: false,
            contradiction: None,
        }
    }

    /// Refuses what cannot have been meant; the error says what to change.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(contradiction) = self.contradiction {
            return Err(contradiction.to_owned());
        }
        if let Some((least, most)) = self.ttl.clamp.filter(|(least, most)| least > most) {
            return Err(format!(
                "`clamp_ttl` takes the least lifetime first, but {least:?} is longer than {most:?}; \
                 swap them"
            ));
        }
        let Some(soft) = self.staleness.soft_timeout else {
            return Ok(());
        };
        if self.staleness.if_error.is_none() {
            return Err(
                "`soft_timeout` has no stale response to answer with; add `stale_if_error`, with \
                 a window of zero if the handler states its own"
                    .to_owned(),
            );
        }
        match self.staleness.hard_timeout {
            Some(hard) if hard <= soft => Err(format!(
                "`soft_timeout` is {soft:?} and never reached, for `hard_timeout` is {hard:?}; make \
                 the soft one shorter"
            )),
            _ => Ok(()),
        }
    }

    /// Applies the route's TTL only where the handler states no freshness of its own. This is the
    /// default.
    pub fn ttl_as_default(mut self) -> Self {
        self.ttl.origin = TtlPrecedence::OriginFirst;
        self
    }

    /// Applies the route's TTL in place of the handler's `max-age`, `s-maxage` and `Expires`.
    ///
    /// `no-store`, `private` and `no-cache` still win: they say that storing is wrong, not merely
    /// for how long it is useful.
    pub fn ttl_overrides(mut self) -> Self {
        self.ttl.origin = TtlPrecedence::RouteFirst;
        self
    }

    /// Stores answers with this status for `ttl`: the only way for a status other than 200, 203 and
    /// 204 to get a TTL, and under [`ttl`](Self::ttl) for all 5xx, and all 4xx other than 404, 410 and
    /// 451, to be stored at all.
    ///
    /// Error answers are often the request's own fault; stored, one client's malformed request
    /// becomes everyone's error page. So 401, 406, 407, 408, 411, 412, 415, 416, 417, 421, 425, 426,
    /// 428 and 429 are never stored, and 403 only from a request without credentials: they answer
    /// what one request carries or lacks. A TTL for one of them, other than 403, is an error from
    /// `build()`.
    pub fn ttl_for(mut self, status: StatusCode, ttl: Duration) -> Self {
        self.ttl.set_for(status, ttl);
        self
    }

    /// Stores 404 and 410 answers for `ttl`. By default they are not stored.
    pub fn negative_ttl(self, ttl: Duration) -> Self {
        self.ttl_for(StatusCode::NOT_FOUND, ttl)
            .ttl_for(StatusCode::GONE, ttl)
    }

    /// Keeps every freshness lifetime within bounds, whether it comes from the handler or from the
    /// route. By default there are none. A `least` longer than `most` is an error from `build()`.
    ///
    /// `no-store`, `private` and `no-cache` are not affected, nor is a lifetime of zero, which says
    /// that the response must not be used again as it is.
    pub fn clamp_ttl(mut self, least: Duration, most: Duration) -> Self {
        self.ttl.clamp = Some((least, most));
        self
    }

    /// Shortens each lifetime by a random part of up to `percent` of it, so that responses stored
    /// together do not expire together. By default zero; more than 100 counts as 100.
    pub fn jitter(mut self, percent: u8) -> Self {
        self.ttl.jitter_percent = percent.min(100);
        self
    }

    /// Serves a stale response for up to `window` after it expired while one background call
    /// refreshes it ([RFC 5861 §3](https://www.rfc-editor.org/rfc/rfc5861#section-3)).
    ///
    /// The handler's own `stale-while-revalidate` wins; `must-revalidate`, `proxy-revalidate`,
    /// `s-maxage` and `no-cache` forbid it. An invalidated response is never served this way. By
    /// default there is no window.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.staleness.while_revalidate = Some(window);
        self
    }

    /// Serves a stale response for up to `window` after it expired in place of a 500, 502, 503 or 504
    /// or an error of the inner service
    /// ([RFC 5861 §4](https://www.rfc-editor.org/rfc/rfc5861#section-4)).
    ///
    /// The handler's own `stale-if-error` wins; `must-revalidate`, `proxy-revalidate`, `s-maxage`
    /// and `no-cache` forbid it. An invalidated response is never served this way.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.staleness.if_error = Some(window);
        self
    }

    /// Refreshes a fresh response in the background when it is asked for with no more than `window`
    /// of its lifetime left, so that what is asked for often never expires. By default zero.
    pub fn refresh_ahead(mut self, window: Duration) -> Self {
        self.staleness.refresh_ahead = window;
        self
    }

    /// Answers with the stale response that is stored, where [`stale_if_error`](Self::stale_if_error)
    /// would allow it, when the handler has not answered after `timeout`. The handler's call goes
    /// on, and refreshes what is stored. By default a request waits.
    ///
    /// Without `stale_if_error` it is an error from `build()`; where only the handler states a
    /// window, give one of zero.
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.staleness.soft_timeout = Some(timeout);
        self
    }

    /// Drops a handler call for a read that has brought no response head after `timeout`, and
    /// answers with a stale response where [`stale_if_error`](Self::stale_if_error) allows it, or
    /// else 504. By default the cache sets no limit of its own.
    pub fn hard_timeout(mut self, timeout: Duration) -> Self {
        self.staleness.hard_timeout = Some(timeout);
        self
    }

    /// Caches only requests for which the condition holds; the others are bypassed.
    pub fn when(mut self, condition: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.condition = Some(Condition(Arc::new(condition)));
        self
    }

    /// Says that responses of this route are the same for everyone, whatever `Authorization`,
    /// `Cookie` or other [credential](crate::CacheLayerBuilder::credential_header) the request
    /// carries.
    ///
    /// **This can show one user's response to another** where a handler does look at them. A
    /// handler's `private` and `no-store` are still obeyed.
    pub fn shared_with_everyone(mut self) -> Self {
        if matches!(self.identity, Identity::Partition(_)) {
            self.contradiction = Some(IDENTITIES);
        }
        self.identity = Identity::Everyone;
        self
    }

    /// Stores a response for each group of requests that the function gives the same name: a
    /// tenant, a user id from a verified session. Requests to which it gives none are bypassed.
    ///
    /// **The name must come from something the service has verified**: whoever can choose it
    /// chooses whose responses they see.
    pub fn partition_by<F>(mut self, partition: F) -> Self
    where
        F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    {
        if !matches!(self.identity, Identity::Cautious) {
            self.contradiction = Some(IDENTITIES);
        }
        self.identity = Identity::Partition(Arc::new(partition));
        self
    }

    /// Stores responses that carry `Set-Cookie`, and replays the cookies.
    ///
    /// **This gives one user's cookies to another.** It exists for proxies whose origin is known to
    /// set only cookies meant for everyone. By default such a response is not stored.
    pub fn store_set_cookie(self) -> Self {
        self.set_cookies(SetCookie::Stored)
    }

    /// Stores responses that carry `Set-Cookie`, but without that field.
    ///
    /// The body is still replayed to others: use it only where the cookie and the body have nothing
    /// to do with each other.
    pub fn store_without_set_cookie(self) -> Self {
        self.set_cookies(SetCookie::StoredWithout)
    }

    fn set_cookies(mut self, set_cookie: SetCookie) -> Self {
        if ![SetCookie::NotStored, set_cookie].contains(&self.set_cookie) {
            self.contradiction = Some(
                "`store_set_cookie` keeps `Set-Cookie` and `store_without_set_cookie` removes it; \
                 choose one",
            );
        }
        self.set_cookie = set_cookie;
        self
    }

    /// Leaves the named query parameters out of the key: requests that differ only in them share
    /// stored responses. The handler still sees them.
    pub fn ignore_query<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.key.query.ignore(names.into_iter().map(Into::into));
        self
    }

    /// Keeps only the named query parameters in the key, in whatever way their names are encoded.
    pub fn only_query<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.key.query.only(names.into_iter().map(Into::into));
        self
    }

    /// Lets `?a=1&b=2` and `?b=2&a=1` share stored responses.
    ///
    /// Parameters of the same name keep their order: `?a=1&a=2` and `?a=2&a=1` stay apart.
    pub fn sort_query(mut self) -> Self {
        self.key.query.any_order = true;
        self
    }

    /// Says in the words of the `No-Vary-Search` field which parts of a query do not matter:
    /// `key-order, params=("utm_source")`, or `params, except=("id")`.
    ///
    /// It is a rule of this route, known before the first response; the field in responses is left
    /// to browsers. A value that does not parse is an error from `build()`.
    pub fn no_vary_search(mut self, value: impl Into<String>) -> Self {
        self.no_vary_search = Some(value.into());
        self
    }

    /// Adds a request field's values to the key, as `Vary` in the response would.
    ///
    /// A request that carries a credential is bypassed by default all the same: to share the
    /// responses for one API key among those who send it, use
    /// [`CacheLayerBuilder::also_key`](crate::CacheLayerBuilder::also_key).
    pub fn key_header(mut self, name: HeaderName) -> Self {
        self.key.headers.push(name);
        self
    }

    /// Adds one cookie's value to the key; all of them where a request has several of that name.
    ///
    /// Requests with cookies are bypassed by default all the same: combine with
    /// [`shared_with_everyone`](Self::shared_with_everyone) where no other cookie matters.
    pub fn key_cookie(mut self, name: impl Into<String>) -> Self {
        self.key.cookies.push(name.into());
        self
    }

    /// Adds what the function returns to the key.
    pub fn key_part<F>(mut self, part: F) -> Self
    where
        F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    {
        self.key.parts.push(KeyPart(Arc::new(part)));
        self
    }

    /// Makes what the function returns the whole key, in place of scheme, authority, path and query.
    ///
    /// **Requests to which it gives the same text are given the same response**, whatever else they
    /// ask for. Forwarding fields and the parts added by other methods stay in the key.
    ///
    /// Only the function knows which requests these are. So a write to any path of such a route evicts
    /// all that is stored under replaced keys, and so does every invalidation of a path or pattern that
    /// may mean one of them; it carries the tag `replaced-key`.
    pub fn replace_key_with<F>(mut self, key: F) -> Self
    where
        F: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    {
        self.key.replacement = Some(KeyPart(Arc::new(key)));
        self
    }

    /// Tags the stored responses of this route, to be invalidated together.
    ///
    /// `{name}` stands for the route's capture of that name: `tag("user:{id}")`.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Stores no body larger than this. By default 1 MiB; never more than an eighth of the store, nor
    /// than fits into the store's [largest entry](crate::Usage::largest_entry) beside its headers.
    ///
    /// A larger body is passed on as it comes and not held in memory.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Keeps at most this many responses beside each other for one key, selected by `Vary`. By
    /// default 32; the oldest goes first.
    pub fn max_variants(mut self, variants: usize) -> Self {
        self.max_variants = variants.max(1);
        self
    }

    /// Lets every miss call the handler, even while another call for the same key is under way.
    pub fn without_collapsing(mut self) -> Self {
        self.collapsing.on = false;
        self
    }

    /// Bounds how long a call of the handler keeps other requests waiting for the head of its
    /// response. By default 10 seconds.
    ///
    /// After that, the next request, or one of those that wait, calls the handler again. The others
    /// wait on, for whichever call answers first.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.collapsing.max_wait = wait;
        self
    }

    /// Stops a handler call when every client that waited for it has gone, as happens without a
    /// cache. By default it is finished in the background, up to the body limit, and stored.
    pub fn stop_when_abandoned(mut self) -> Self {
        self.collapsing.finish_abandoned = false;
        self
    }

    /// Gives stored responses with status 200 that have no `ETag` a strong one, from the SHA-256
    /// digest of the body, so that clients that have the body already are answered 304.
    ///
    /// It is computed once, when the response is stored; the response that filled the cache goes
    /// out without it. By default none is made.
    pub fn generate_etag(mut self) -> Self {
        self.generate_etag = true;
        self
    }

    /// Obeys `no-cache`, `max-age`, `max-stale` and `min-fresh` in requests
    /// ([RFC 9111 §5.2.1](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1)).
    ///
    /// By default they are ignored, since a browser's reload would otherwise reach the handler:
    /// any client could switch the cache off. `no-store` (nothing is stored from this request) and
    /// `only-if-cached` (504 when there is nothing) are always obeyed.
    pub fn honour_request_directives(mut self) -> Self {
        self.honour_request_directives = true;
        self
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condition(..)")
    }
}
