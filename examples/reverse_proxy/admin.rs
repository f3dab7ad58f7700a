//! `--admin`: the administration of the cache, on an address of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use clap::CommandFactory;
use clap::error::ErrorKind;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use tokio::net::TcpListener;
use tower_response_cache::CacheHandle;
use tower_response_cache::admin::{Access, Admin};

use crate::args::Args;

/// Says who has access, as the command line has it; `None` where there is nothing to have access to.
pub(crate) fn access(args: &Args) -> Result<Option<Access>, clap::Error> {
    let Some(address) = args.admin else {
        return Ok(None);
    };
    match &args.admin_token {
        Some(token) => {
            let access = Access::token(token);
            access
                .map(Some)
                .map_err(|error| refuse(format!("--admin-token: {error}")))
        }
        None if address.ip().is_loopback() => Ok(Some(Access::predicate(is_local))),
        None => Err(refuse(format!(
            "--admin {address} can be reached from other machines: give an --admin-token, or take a \
             loopback address such as 127.0.0.1:{}",
            address.port()
        ))),
    }
}

fn refuse(error: String) -> clap::Error {
    Args::command().error(ErrorKind::ValueValidation, error)
}

/// Whether a request comes from this machine and was meant for it. By the name in `Host` a browser is
/// told apart that was led here under a name of somebody else's, which may resolve to anything.
fn is_local(request: &Parts) -> bool {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    let is_near = peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback());
    let mut hosts = request.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    is_near
        && Authority::try_from(host.as_bytes()).is_ok_and(|host| names_this_machine(host.host()))
}

fn names_this_machine(host: &str) -> bool {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address: Result<IpAddr, _> = address.unwrap_or(host).parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Begins to serve, if that is asked for, and returns the address.
pub(crate) async fn serve(args: &Args, handle: CacheHandle) -> io::Result<Option<SocketAddr>> {
    let access = access(args).map_err(io::Error::other)?;
    let (Some(address), Some(access)) = (args.admin, access) else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {address} for --admin: {error}"),
        )
    })?;
    let address = listener.local_addr()?;
    let router = Admin::new(handle, access).router();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // It ends with the program: nobody waits for an answer about what is no more.
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(peer: &str, hosts: &[&str]) -> bool {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = hosts
            .iter()
            .fold(http::Request::get("/stats"), |request, host| {
                request.header(HOST, *host)
            })
            .extension(ConnectInfo(peer));
        is_local(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn without_a_token_it_takes_a_local_peer_and_a_local_name() {
        for (peer, hosts, expected) in [
            ("127.0.0.1:1", &["localhost"][..], true),
            ("127.0.0.1:1", &["LOCALHOST:9901"], true),
            ("127.8.0.1:1", &["127.0.0.1:9901"], true),
            ("[::1]:1", &["[::1]:9901"], true),
            ("[::ffff:127.0.0.1]:1", &["127.0.0.1"], true),
            ("192.0.2.1:1", &["localhost"], false),
            ("127.0.0.1:1", &[], false),
            ("127.0.0.1:1", &["localhost", "localhost"], false),
            ("127.0.0.1:1", &["evil.example"], false),
            ("127.0.0.1:1", &["localhost.evil.example"], false),
            ("127.0.0.1:1", &["127.0.0.1.evil.example"], false),
            ("127.0.0.1:1", &["192.0.2.1"], false),
            ("127.0.0.1:1", &["0.0.0.0"], false),
            ("127.0.0.1:1", &["evil.example@localhost:80/"], false),
            ("127.0.0.1:1", &[""], false),
        ] {
            assert_eq!(allowed(peer, hosts), expected, "{peer} {hosts:?}");
        }
    }
}
