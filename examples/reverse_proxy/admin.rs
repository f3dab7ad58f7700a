//! `--admin`: the admin router of the cache, on an address of its own.

use std::io;
use std::net::SocketAddr;

use clap::CommandFactory;
use clap::error::ErrorKind;
use tokio::net::TcpListener;
use tower_response_cache::CacheHandle;
use tower_response_cache::admin::{Access, Admin};

use crate::args::Args;

/// Returns the access rule of the command line; `None` without `--admin`.
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
        None if address.ip().is_loopback() => Ok(Some(Access::local())),
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

/// Starts serving if `--admin` is given, and returns the address.
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
    // It ends with the program, without waiting for admin requests under way.
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(Some(address))
}
