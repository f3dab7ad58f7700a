//! Tunnels, which carry bytes both ways after a 101.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// Carries bytes between a client and the origin until both have closed their side.
pub(crate) async fn join(client: OnUpgrade, origin: OnUpgrade) {
    let (client, origin) = match tokio::try_join!(client, origin) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(?error, "one side left during the upgrade"),
    };
    let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut origin).await {
        tracing::debug!(?error, "tunnel broken");
    }
}
