//! Who may come in.

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

/// Says who may use an [`Admin`](super::Admin) router.
#[derive(Clone)]
pub struct Access(Rule);

#[derive(Clone)]
enum Rule {
    /// The token's digest: digests are all of one length, and nothing that leaks of them is of use.
    Token([u8; 32]),
    Local,
    Predicate(Arc<Predicate>),
}

type Predicate = dyn Fn(&Parts) -> bool + Send + Sync;

/// The least that a token has: with 64 bits, guessing over a network is hopeless.
const SHORTEST: usize = 16;

/// How a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It has no token.
    Unnamed,
    /// It has another one.
    Wrong,
    /// It is not from this machine, or was not meant for it.
    NotLocal,
    /// Nothing is known of where it is from.
    NoPeer,
    /// The predicate said no.
    Predicate,
}

impl Access {
    /// Lets those in who send `Authorization: Bearer` with this token
    /// ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
    ///
    /// Tokens are compared by their SHA-256 digests in constant time, so that how long an answer takes
    /// tells nothing about the token, not even its length. The token itself is not kept.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) where the token has less than 16 characters, or
    /// any that cannot stand in the field: what it takes are visible ASCII characters. The message
    /// does not show the token.
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
                "the admin token has {} characters; take {SHORTEST} or more that nobody can guess, \
                 for example those of `openssl rand -hex 24`",
                token.len()
            )));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::config(
                "the admin token has characters that cannot be sent in `Authorization`; take \
                 letters, digits and `-._~+/=`",
            ));
        }
        Ok(Self(Rule::Token(Sha256::digest(token).into())))
    }

    /// Lets everyone in who is on this machine: whose connection comes from a loopback address, and
    /// whose `Host` names this machine (`localhost`, or a loopback address). For development, and for
    /// machines that nobody else has an account on.
    ///
    /// By `Host`, pages in a browser here are refused that were loaded under a name which then
    /// came to resolve to this machine (DNS rebinding). Behind a proxy on this machine, everyone is
    /// on this machine: take a token there.
    ///
    /// The address of the peer has to be known, so serve the router with
    /// [`into_make_service_with_connect_info::<SocketAddr>()`](axum::Router::into_make_service_with_connect_info);
    /// nobody is let in otherwise.
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
        Self(Rule::Local)
    }

    /// Lets those in for whom a function returns true, such as those whom a layer outside has
    /// recognised.
    ///
    /// Requests that a browser sends on behalf of another site are refused before. Where the function
    /// goes by the address that a request comes from, it has to look at `Host` as well, as
    /// [`local`](Self::local) does.
    pub fn predicate(allows: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Rule::Predicate(Arc::new(allows)))
    }

    pub(super) fn check(&self, request: &Parts) -> Result<(), Refused> {
        match &self.0 {
            Rule::Token(expected) => {
                let sent = bearer(&request.headers).ok_or(Refused::Unnamed)?;
                let sent: [u8; 32] = Sha256::digest(sent).into();
                match bool::from(sent.ct_eq(expected)) {
                    true => Ok(()),
                    false => Err(Refused::Wrong),
                }
            }
            Rule::Local => check_local(request),
            Rule::Predicate(allows) => match allows(request) {
                true => Ok(()),
                false => Err(Refused::Predicate),
            },
        }
    }
}

/// Returns the token of the one `Authorization` field. The scheme's name knows no case
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

fn check_local(request: &Parts) -> Result<(), Refused> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    let ConnectInfo(peer) = peer.ok_or(Refused::NoPeer)?;
    match peer.ip().to_canonical().is_loopback() && is_meant_for_here(request) {
        true => Ok(()),
        false => Err(Refused::NotLocal),
    }
}

/// Returns whether the one name under which the request was sent is one of this machine's own.
fn is_meant_for_here(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = match (request.uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) | (None, None, _) => None,
        (Some(target), None, None) => Some(target.clone()),
        // Over HTTP/1.1 it is `Host` that a browser sets; the target may say what it likes.
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
            Rule::Token(_) => "Access::token(..)",
            Rule::Local => "Access::local()",
            Rule::Predicate(_) => "Access::predicate(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(peer: &str, target: &str, hosts: &[&str]) -> Result<(), Refused> {
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
        assert_eq!(Access::local().check(&nobody), Err(Refused::NoPeer));
    }
}
