//! Facts about a request, found in one pass over its headers.

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use smallvec::SmallVec;

use crate::policy::{FieldRules, Treatment};

/// A request's headers, as far as a cache cares.
#[derive(Debug, Default)]
pub(crate) struct Signals<'a> {
    pub(crate) host: Option<&'a HeaderValue>,
    pub(crate) keyed: SmallVec<[(&'a HeaderName, &'a HeaderValue); 4]>,
    pub(crate) flags: Flags,
}

/// The part of [`Signals`] that outlives the headers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) authorization: bool,
    pub(crate) cookie: bool,
    /// A header of [`Treatment::Credential`].
    pub(crate) credential: bool,
    pub(crate) cache_control: bool,
    /// `If-None-Match` or `If-Modified-Since`: a cache may answer in the inner service's place.
    pub(crate) conditional: bool,
    /// `If-Match` or `If-Unmodified-Since`.
    pub(crate) precondition: bool,
    pub(crate) range: bool,
    /// A field that announces a body.
    pub(crate) body: bool,
    pub(crate) upgrade: bool,
    /// A header of [`Treatment::Bypassed`].
    pub(crate) bypassed: bool,
    /// More than one `Host`.
    pub(crate) ambiguous_host: bool,
}

impl<'a> Signals<'a> {
    pub(crate) fn scan(headers: &'a HeaderMap, rules: &FieldRules) -> Self {
        let mut signals = Self::default();
        for (name, value) in headers {
            signals.note(name, value, rules);
        }
        signals
    }

    fn note(&mut self, name: &'a HeaderName, value: &'a HeaderValue, rules: &FieldRules) {
        let flags = &mut self.flags;
        // Constants as patterns: names that are standard are told apart by one jump.
        match *name {
            header::HOST => flags.ambiguous_host |= self.host.replace(value).is_some(),
            header::AUTHORIZATION => flags.authorization = true,
            header::COOKIE => flags.cookie = true,
            header::CACHE_CONTROL => flags.cache_control = true,
            header::IF_NONE_MATCH | header::IF_MODIFIED_SINCE => flags.conditional = true,
            header::IF_MATCH | header::IF_UNMODIFIED_SINCE => flags.precondition = true,
            header::RANGE => flags.range = true,
            header::CONTENT_LENGTH => flags.body |= value.as_bytes() != b"0",
            header::TRANSFER_ENCODING => flags.body = true,
            header::UPGRADE => flags.upgrade = true,
            // Fields that every browser sends: told apart at once from those the default rules
            // name.
            header::ACCEPT
            | header::ACCEPT_ENCODING
            | header::ACCEPT_LANGUAGE
            | header::USER_AGENT
            | header::CONNECTION
            | header::REFERER
            | header::TE
            | header::ORIGIN
            | header::PRAGMA
            | header::DNT => {}
            _ => return self.apply(name, value, rules),
        }
        if rules.chosen {
            self.apply(name, value, rules);
        }
    }

    fn apply(&mut self, name: &'a HeaderName, value: &'a HeaderValue, rules: &FieldRules) {
        match rules.treatment(name) {
            None | Some(Treatment::Ignored) => {}
            Some(Treatment::Keyed) => self.keyed.push((name, value)),
            Some(Treatment::Bypassed) => self.flags.bypassed = true,
            Some(Treatment::Credential) => self.flags.credential = true,
        }
    }
}

impl Flags {
    /// Returns whether the request carries what `Authorization` is, under whatever name
    /// ([RFC 9111 §3.5](https://www.rfc-editor.org/rfc/rfc9111#section-3.5)).
    pub(crate) fn is_authorized(self) -> bool {
        self.authorization || self.credential
    }
}

/// The side of a request that a replay looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) flags: Flags,
}

impl<'a> Client<'a> {
    pub(super) fn of(parts: &'a Parts, flags: Flags) -> Self {
        Self {
            method: &parts.method,
            headers: &parts.headers,
            flags,
        }
    }

    /// Returns whether the answer is the whole of a stored response, whatever the response.
    pub(super) fn wants_the_whole(&self) -> bool {
        let flags = self.flags;
        *self.method == Method::GET && !flags.conditional && !flags.precondition && !flags.range
    }
}

/// A request's class, as far as a cache cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestClass {
    /// GET or HEAD.
    Read,
    /// Another safe method: passed by.
    OtherSafe,
    /// An unsafe or unknown method: invalidates.
    Write,
    /// CONNECT: a tunnel, and none of our business.
    Tunnel,
}

impl RequestClass {
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Read,
            Method::CONNECT => Self::Tunnel,
            _ if crate::semantics::invalidation::is_safe(method) => Self::OtherSafe,
            _ => Self::Write,
        }
    }
}
