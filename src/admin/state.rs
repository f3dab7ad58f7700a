//! The state that the admin handlers share.

use std::sync::Arc;

use axum::extract::State;
use tokio::sync::Semaphore;

use super::access::Access;
use super::answer::ErrorResponse;
use crate::layer::CacheHandle;

/// The state that the admin handlers share.
#[derive(Debug)]
pub(super) struct AdminState {
    pub(super) handle: CacheHandle,
    pub(super) access: Access,
    /// Bounds the simultaneous scans of the store.
    scans: Arc<Semaphore>,
}

pub(super) type Admitted = State<Arc<AdminState>>;

/// The most simultaneous scans. One is enough for one person; the second keeps a slow listing from
/// holding up a purge.
const SCANS: usize = 2;

impl AdminState {
    pub(super) fn new(handle: CacheHandle, access: Access) -> Self {
        Self {
            handle,
            access,
            scans: Arc::new(Semaphore::new(SCANS)),
        }
    }

    /// Scans the store on a thread for blocking work.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        look: impl FnOnce(&CacheHandle) -> T + Send + 'static,
    ) -> Result<T, ErrorResponse> {
        let failed = |_| ErrorResponse::internal("the store could not be scanned");
        // The permit moves into the work, which continues even if the client leaves.
        let permit = self.scans.clone().acquire_owned().await.map_err(failed)?;
        let handle = self.handle.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = look(&handle);
            drop(permit);
            found
        });
        looked
            .await
            .map_err(|_| ErrorResponse::internal("the store could not be scanned"))
    }
}
