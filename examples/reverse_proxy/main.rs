//! A reverse proxy for any HTTP/1.1 origin, with the cache layer in the middle.
//!
//! ```text
//! cargo run --release --example reverse_proxy -- \
//!     --listen 127.0.0.1:8080 --origin http://127.0.0.1:3000 \
//!     --ttl '/products/**=60' --on-write '/products/{id}=/products/**'
//! curl -i http://127.0.0.1:8080/products      # X-Cache: MISS
//! curl -i http://127.0.0.1:8080/products      # X-Cache: HIT
//! ```
//!
//! With `--admin 127.0.0.1:9901` it serves the admin router at that address, for browsers and for
//! programs. `CACHE_BYPASS=true` in the environment starts it with the cache switched off.
//!
//! With `--origin-decides` it is a plain RFC 9111 shared cache. Without `--ttl` or
//! `--origin-decides` nothing is cached. `--help` explains every option.
//!
//! A request goes through three steps, one file each:
//!
//! - `front` refuses requests that no proxy should pass on, and drops fields that the origin must not
//!   see, so that the cache judges exactly the request that the origin would see;
//! - the cache layer of this crate, with the routes that `rules` makes from the command line;
//! - `origin` sends the request on and turns a failure of the origin into a 502 or 504, in place of
//!   which the cache may serve a stale response.
//!
//! Beside them, `interim` passes on the origin's interim responses.

mod admin;
mod args;
mod connector;
mod fields;
mod front;
mod interim;
mod origin;
mod rules;
mod server;
mod tunnel;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use http_body_util::{Either, Empty};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::Layer;
use tower_response_cache::{
    CacheLayer, MemoryStore, NoStore, RedisStore, Routes, Store, TieredStore,
};
use tracing_subscriber::EnvFilter;

use crate::args::{Args, StoreChoice};
use crate::front::RequestBody;
use crate::origin::Origin;

fn main() -> ExitCode {
    let args = Args::parse();
    let routes = rules::routes(&args).unwrap_or_else(|error| error.exit());
    // Checked now, so that a mistake is reported like any other in the command line.
    admin::access(&args).unwrap_or_else(|error| error.exit());
    log_to_stderr();
    match runtime(args.threads).and_then(|runtime| runtime.block_on(run(args, routes))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args, routes: Routes) -> io::Result<()> {
    let builder = CacheLayer::builder()
        .routes(routes)
        .empty_request_body::<RequestBody>(|| Either::Right(Empty::new()));
    let store = store(&args).map_err(io::Error::other)?;
    let cache = builder
        .shared_store(store)
        .build()
        .map_err(io::Error::other)?;
    cache.handle().set_bypass(bypass()?);

    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {}: {error}", args.listen),
        )
    })?;
    let address = listener.local_addr()?;
    let stop = server::stop_signal()?;
    // A closed stdout is no reason to stop serving.
    if let Some(admin) = admin::serve(&args, cache.handle()).await? {
        let _ = writeln!(io::stdout(), "admin on http://{admin}");
    }
    let service = cache.layer(Origin::new(args.origin));
    let _ = writeln!(io::stdout(), "listening on http://{address}");
    server::serve(listener, service, stop).await;
    Ok(())
}

fn store(args: &Args) -> Result<Arc<dyn Store>, tower_response_cache::Error> {
    let redis = |url: &str| RedisStore::builder().url(url).namespace(&args.namespace);
    Ok(match &args.store {
        StoreChoice::Memory => Arc::new(MemoryStore::new(args.max_bytes)),
        StoreChoice::None => Arc::new(NoStore::new()),
        StoreChoice::Redis(url) => Arc::new(redis(url).build()?),
        StoreChoice::Tiered(url) => Arc::new(
            TieredStore::builder()
                .memory(MemoryStore::builder().max_bytes(args.max_bytes))
                .redis(redis(url))
                .near_cache(args.near_cache)
                .build()?,
        ),
    })
}

/// Returns whether the environment asks to start with the cache switched off.
fn bypass() -> io::Result<bool> {
    let value = std::env::var_os("CACHE_BYPASS").unwrap_or_default();
    match value.to_str() {
        Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        _ => Err(io::Error::other(format!(
            "CACHE_BYPASS is {value:?}: expected true or false"
        ))),
    }
}

/// Builds the runtime. A single thread runs everything itself, which saves wake-ups between threads.
fn runtime(threads: Option<usize>) -> io::Result<Runtime> {
    let mut builder = match threads {
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(threads) = threads.filter(|&threads| threads > 1) {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}
