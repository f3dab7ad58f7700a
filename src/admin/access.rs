//! Who may come in.

use std::fmt;
use std::sync::Arc;

use http::header::{self, HeaderMap};
use http::request::Parts;
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

    /// Lets those in for whom a function returns true, such as those whom a layer outside has
    /// recognised.
    ///
    /// Requests that a browser sends on behalf of another site are refused before. Where the function
    /// goes by the address that a request comes from, it has to look at `Host` as well: by a name that
    /// an attacker makes resolve to your address, the attacker's page and this router are one site.
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

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Rule::Token(_) => "Access::token(..)",
            Rule::Predicate(_) => "Access::predicate(..)",
        })
    }
}
