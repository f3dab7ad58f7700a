//! Access control.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::uri::Authority;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Error;

/// A rule that says who may use an [`Admin`](super::Admin) router.
#[derive(Clone)]
pub struct Access(AccessRule);

#[derive(Clone)]
enum AccessRule {
    /// The token's digest. All digests have the same length, and a leaked part of one is useless.
    Token([u8; 32]),
    Local,
    Predicate(Arc<Predicate>),
}

type Predicate = dyn Fn(&Parts) -> bool + Send + Sync;

/// The least length of a token: with 64 bits, guessing over a network is hopeless.
const SHORTEST: usize = 16;

/// The reason for which a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessDenied {
    /// The request has no token.
    Unnamed,
    /// The request has a wrong token.
    Wrong,
    /// The request is not from this machine, or was not meant for it.
    NotLocal,
    /// The peer's address is unknown.
    NoPeer,
    /// The predicate returned false.
    Predicate,
}

impl Access {
    /// Allows requests that send `Authorization: Bearer` with this token
    /// ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
    ///
    /// Tokens are compared by their SHA-256 digests in constant time, so the time an answer takes
    /// reveals nothing about the token, not even its length. The token itself is not kept.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`](crate::ErrorKind::Config) if the token has fewer than 16
    /// characters, or any that cannot be sent in the field: only visible ASCII characters can. The
    /// message does not show the token.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_response_cache::admin::Access;
    ///
    /// assert!(Access::token("8a4f1d70c2b94e63a5").is_ok());
    /// assert!(Access::token("").is_err());
    /// ```
    pub fn token(token: impl AsRef<str>) -> Result<Self, Error> {
        let token = token.as_ref();
        if token.len() < SHORTEST {
            return Err(Error::config(format!(
                "the admin token has {} characters; use {SHORTEST} or more that nobody can guess, \
                 for example the output of `openssl rand -hex 24`",
                token.len()
            )));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::config(
                "the admin token has characters that cannot be sent in `Authorization`; use \
                 letters, digits and `-._~+/=`",
            ));
        }
        Ok(Self(AccessRule::Token(Sha256::digest(token).into())))
    }

    /// Allows requests from this machine: those that come from a loopback address and whose `Host`
    /// names this machine (`localhost`, or a loopback address). Use it for development, and on
    /// machines where nobody else has an account.
    ///
    /// The check of `Host` keeps out web pages in a local browser that were loaded under another name,
    /// which later came to resolve to this machine (DNS rebinding). Behind a proxy on this machine,
    /// every request comes from this machine: use a token there.
    ///
    /// The peer's address must be known, so serve the router with
    /// [`into_make_service_with_connect_info::<SocketAddr>()`](axum::Router::into_make_service_with_connect_info);
    /// otherwise nobody has access.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::SocketAddr;
    /// use tower_response_cache::CacheLayer;
    /// use tower_response_cache::admin::{Access, Admin};
    ///
    /// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = CacheLayer::builder().build()?;
    /// let admin = Admin::new(cache.handle(), Access::local()).router();
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:9901").await?;
    /// axum::serve(listener, admin.into_make_service_with_connect_info::<SocketAddr>()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn local() -> Self {
        Self(AccessRule::Local)
    }

    /// Allows requests for which a function returns true, such as those that an outer layer has
    /// authenticated.
    ///
    /// Requests that a browser sends on behalf of another site are denied before the function is
    /// called. If it decides by the peer's address, it has to check `Host` as well, as
    /// [`local`](Self::local) does.
    pub fn predicate(allows: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(AccessRule::Predicate(Arc::new(allows)))
    }

    pub(super) fn check(&self, request: &Parts) -> Result<(), AccessDenied> {
        match &self.0 {
            AccessRule::Token(expected) => {
                let sent = bearer(&request.headers).ok_or(AccessDenied::Unnamed)?;
                let sent: [u8; 32] = Sha256::digest(sent).into();
                match bool::from(sent.ct_eq(expected)) {
                    true => Ok(()),
                    false => Err(AccessDenied::Wrong),
                }
            }
            AccessRule::Local => check_local(request),
            AccessRule::Predicate(allows) => match allows(request) {
                true => Ok(()),
                false => Err(AccessDenied::Predicate),
            },
        }
    }
}

/// Returns the token of the only `Authorization` field. The scheme's name is case-insensitive
/// ([RFC 9110 §11.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.1)).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let (scheme, token) = field.as_bytes().split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

fn check_local(request: &Parts) -> Result<(), AccessDenied> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    let ConnectInfo(peer) = peer.ok_or(AccessDenied::NoPeer)?;
    match peer.ip().to_canonical().is_loopback() && is_meant_for_here(request) {
        true => Ok(()),
        false => Err(AccessDenied::NotLocal),
    }
}

/// Returns whether the request was sent to exactly one name, and that name is this machine's own.
fn is_meant_for_here(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = match (request.uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) | (None, None, _) => None,
        (Some(target), None, None) => Some(target.clone()),
        // Over HTTP/1.1 a browser sets `Host`; the target may say anything.
        (_, Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
    };
    host.is_some_and(|host| names_this_machine(host.host()))
}

fn names_this_machine(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Result<IpAddr, _> = bare.unwrap_or(host).parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            AccessRule::Token(_) => "Access::token(..)",
            AccessRule::Local => "Access::local()",
            AccessRule::Predicate(_) => "Access::predicate(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(peer: &str, target: &str, hosts: &[&str]) -> Result<(), AccessDenied> {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = hosts
            .iter()
            .fold(http::Request::get(target), |request, host| {
                request.header(header::HOST, *host)
            })
            .extension(ConnectInfo(peer));
        Access::local().check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn local_is_a_near_peer_that_asks_for_a_near_name() {
        for (peer, target, hosts, expected) in [
            ("127.0.0.1:1", "/", &["localhost"][..], true),
            ("127.0.0.1:1", "/", &["LOCALHOST:9901"], true),
            ("127.8.0.1:1", "/", &["127.0.0.1:9901"], true),
            ("[::1]:1", "/", &["[::1]:9901"], true),
            ("[::ffff:127.0.0.1]:1", "/", &["127.0.0.1"], true),
            ("127.0.0.1:1", "http://localhost:9901/", &[], true),
            ("127.0.0.1:1", "http://evil.example/", &[], false),
            ("127.0.0.1:1", "http://localhost/", &["evil.example"], false),
            ("192.0.2.1:1", "/", &["localhost"], false),
            ("[::ffff:192.0.2.1]:1", "/", &["localhost"], false),
            ("127.0.0.1:1", "/", &[], false),
            ("127.0.0.1:1", "/", &["localhost", "localhost"], false),
            ("127.0.0.1:1", "/", &["evil.example"], false),
            ("127.0.0.1:1", "/", &["localhost.evil.example"], false),
            ("127.0.0.1:1", "/", &["127.0.0.1.evil.example"], false),
            ("127.0.0.1:1", "/", &["192.0.2.1"], false),
            ("127.0.0.1:1", "/", &["0.0.0.0"], false),
            ("127.0.0.1:1", "/", &["[::]"], false),
            ("127.0.0.1:1", "/", &["local host"], false),
            ("127.0.0.1:1", "/", &[""], false),
        ] {
            let checked = checked(peer, target, hosts);
            assert_eq!(checked.is_ok(), expected, "{peer} {target} {hosts:?}");
        }
        let nobody = http::Request::get("/").header(header::HOST, "localhost");
        let (nobody, ()) = nobody.body(()).unwrap().into_parts();
        assert_eq!(Access::local().check(&nobody), Err(AccessDenied::NoPeer));
    }
}
