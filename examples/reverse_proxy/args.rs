//! The command line. Everything is checked here, before a port is opened.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Parser;
use http::Uri;
use http::uri::{Authority, Scheme};
use tower_response_cache::NearCache;

use crate::rules::{EvictRule, TtlRule};

/// A caching reverse proxy for one HTTP/1.1 origin.
///
/// Without --ttl or --origin-decides nothing is cached.
#[derive(Debug, Parser)]
#[command(name = "reverse_proxy")]
pub(crate) struct Args {
    /// The address to listen on; port 0 uses a free one, which is printed.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// The origin, as http://host:port.
    #[arg(long, value_name = "URL", value_parser = origin)]
    pub(crate) origin: Authority,

    /// The store for responses: memory, none, redis://… or tiered+redis://….
    #[arg(long, default_value = "memory", value_parser = store)]
    pub(crate) store: StoreChoice,

    /// The number of threads that serve requests [default: one per core].
    #[arg(long, value_name = "N", value_parser = from_one)]
    pub(crate) threads: Option<usize>,

    /// The most bytes the memory store takes.
    #[arg(long, value_name = "N", default_value = "268435456", value_parser = from_one)]
    pub(crate) max_bytes: usize,

    /// Caches responses to requests that match PATTERN for SECONDS, unless the response says otherwise.
    ///
    /// `*` stands for anything within a segment, `**` for any number of segments. May be given many
    /// times: of the patterns that match a request, the one with the longest part before its first
    /// `*` counts. 0 seconds means never.
    #[arg(long, value_name = "PATTERN=SECONDS")]
    pub(crate) ttl: Vec<TtlRule>,

    /// Evicts responses that match the right pattern when a write to the left route succeeds.
    ///
    /// The left side is a route in axum's syntax, the right an eviction pattern that may use its
    /// captures: '/catalog/{cat}/items/{id}=/catalog/{cat}/**'. May be given many times.
    #[arg(long, value_name = "ROUTE=PATTERN")]
    pub(crate) on_write: Vec<EvictRule>,

    /// Lets the origin's Cache-Control, Expires and validators decide, as RFC 9111 defines.
    #[arg(long)]
    pub(crate) origin_decides: bool,

    /// Stores responses with Set-Cookie too, and gives their cookies to everyone.
    #[arg(long)]
    pub(crate) store_set_cookie: bool,

    /// The lag allowed between invalidations on other nodes and the memory of a tiered store.
    ///
    /// strict checks every hit with Redis; lease:MS answers from memory for that many milliseconds
    /// after each answer from Redis; lease-wait:MS does the same, and makes writes wait instead.
    #[arg(long, value_name = "MODE", default_value = "lease:100", value_parser = near_cache)]
    pub(crate) near_cache: NearCache,

    /// The name under which several proxies share their stored responses in Redis.
    #[arg(long, value_name = "NAME", default_value = "tower-response-cache")]
    pub(crate) namespace: String,

    /// The address of the admin endpoints and the inspector page.
    ///
    /// Without --admin-token it has to be a loopback address, and everyone on this machine has
    /// access.
    #[arg(long, value_name = "ADDR", value_parser = admin)]
    pub(crate) admin: Option<SocketAddr>,

    /// The token that the admin endpoints require, of 16 characters or more.
    #[arg(long, value_name = "TOKEN", requires = "admin")]
    pub(crate) admin_token: Option<String>,
}

/// The store for responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreChoice {
    Memory,
    None,
    /// Redis at this URL.
    Redis(String),
    /// Memory over Redis at this URL.
    Tiered(String),
}

fn store(value: &str) -> Result<StoreChoice, String> {
    let choice = match (value, value.strip_prefix("tiered+")) {
        ("memory", _) => return Ok(StoreChoice::Memory),
        ("none", _) => return Ok(StoreChoice::None),
        (_, Some(url)) if names_redis(url) => StoreChoice::Tiered(url.into()),
        (url, None) if names_redis(url) => StoreChoice::Redis(url.into()),
        _ => return Err("expected memory, none, redis://… or tiered+redis://…".into()),
    };
    Ok(choice)
}

fn names_redis(url: &str) -> bool {
    ["redis", "unix"]
        .iter()
        .any(|scheme| url.starts_with(scheme) && url.contains("://"))
}

fn near_cache(value: &str) -> Result<NearCache, String> {
    if value == "strict" {
        return Ok(NearCache::Strict);
    }
    let milliseconds = |text: &str| text.parse().map(Duration::from_millis).ok();
    let mode = match value.split_once(':') {
        Some(("lease", text)) => milliseconds(text).map(NearCache::Lease),
        Some(("lease-wait", text)) => milliseconds(text).map(NearCache::LeaseAndWait),
        _ => None,
    };
    mode.ok_or_else(|| "expected strict, lease:MS or lease-wait:MS".into())
}

fn admin(value: &str) -> Result<SocketAddr, String> {
    value
        .parse()
        .map_err(|_| "expected an address and a port, such as 127.0.0.1:9901".into())
}

fn from_one(value: &str) -> Result<usize, String> {
    let number: NonZeroUsize = value.parse().map_err(|_| "expected a number from 1 up")?;
    Ok(number.get())
}

fn origin(value: &str) -> Result<Authority, String> {
    let uri: Uri = value.parse().map_err(|error| format!("{error}"))?;
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err("expected http://host:port; other schemes are not supported".into());
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("the origin is a host and a port; leave out the path".into());
    }
    let authority = uri.into_parts().authority.ok_or("there is no host in it")?;
    if authority.as_str().contains('@') {
        return Err("a user name or password in the URL is not passed on; leave it out".into());
    }
    Ok(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, String> {
        let line = ["reverse_proxy", "--listen", "127.0.0.1:0"]
            .iter()
            .chain(args);
        Args::try_parse_from(line).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_command_line_is_understood() {
        let args = parse(&[
            "--origin",
            "http://localhost:9000",
            "--threads",
            "2",
            "--ttl",
            "/a/*=0.5",
            "--ttl",
            "/**=60",
            "--on-write",
            "/a/{id}=/a/**",
            "--store",
            "none",
            "--store-set-cookie",
        ])
        .unwrap();
        assert_eq!(args.origin.as_str(), "localhost:9000");
        assert_eq!(args.threads, Some(2));
        assert_eq!(args.store, StoreChoice::None);
        assert_eq!((args.ttl.len(), args.on_write.len()), (2, 1));
        assert!(args.store_set_cookie && !args.origin_decides);
    }

    #[test]
    fn every_store_and_mode_has_its_form() {
        let store = |value| {
            parse(&["--origin", "http://a", "--store", value])
                .unwrap()
                .store
        };
        let url = || "redis://localhost:6380".to_owned();
        assert_eq!(store("memory"), StoreChoice::Memory);
        assert_eq!(store("redis://localhost:6380"), StoreChoice::Redis(url()));
        assert_eq!(
            store("tiered+redis://localhost:6380"),
            StoreChoice::Tiered(url())
        );
        let mode = |value| {
            let args = parse(&["--origin", "http://a", "--near-cache", value]);
            args.unwrap().near_cache
        };
        let short = Duration::from_millis(20);
        assert_eq!(mode("strict"), NearCache::Strict);
        assert_eq!(mode("lease:20"), NearCache::Lease(short));
        assert_eq!(mode("lease-wait:20"), NearCache::LeaseAndWait(short));
    }

    #[test]
    fn a_bad_value_is_refused_with_its_flag_and_itself() {
        for (flag, value, hint) in [
            ("--origin", "https://a", "http://host:port"),
            ("--origin", "http://a/path", "leave out the path"),
            ("--origin", "http://me:secret@a", "user name"),
            ("--origin", "a b", "invalid"),
            ("--store", "disk", "expected memory"),
            ("--store", "tiered+memory", "expected memory"),
            ("--near-cache", "lax", "lease:MS"),
            ("--near-cache", "lease:soon", "lease:MS"),
            ("--admin", "localhost:9", "an address and a port"),
            ("--threads", "0", "from 1 up"),
            ("--max-bytes", "0", "from 1 up"),
            ("--ttl", "/a", "PATTERN=SECONDS"),
            ("--ttl", "/a=soon", "seconds"),
            ("--ttl", "/a=-1", "seconds"),
            ("--ttl", "a=1", "/"),
            ("--on-write", "/a/{id}", "ROUTE=PATTERN"),
            ("--on-write", "/a/{id}=b", "/"),
        ] {
            let error = if flag == "--origin" {
                parse(&[flag, value])
            } else {
                parse(&["--origin", "http://a", flag, value])
            }
            .unwrap_err();
            for part in [flag, value, hint] {
                assert!(error.contains(part), "{flag} {value}: {error}");
            }
        }
    }
}
