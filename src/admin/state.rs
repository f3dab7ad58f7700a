//! The state that the handlers share.

use std::sync::Arc;

use axum::extract::State;
use tokio::sync::Semaphore;

use super::access::Access;
use super::answer::Refusal;
use crate::layer::CacheHandle;

/// The state that the handlers share.
#[derive(Debug)]
pub(super) struct AdminState {
    pub(super) handle: CacheHandle,
    pub(super) access: Access,
    /// How many may go over all that is stored at the same time.
    scans: Arc<Semaphore>,
}

pub(super) type Admitted = State<Arc<AdminState>>;

/// One is enough for one person; the other keeps a slow listing from holding up a purge.
const SCANS: usize = 2;

impl AdminState {
    pub(super) fn new(handle: CacheHandle, access: Access) -> Self {
        Self {
            handle,
            access,
            scans: Arc::new(Semaphore::new(SCANS)),
        }
    }

    /// Goes over what is stored on a thread where that holds nobody up.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        look: impl FnOnce(&CacheHandle) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let failed = |_| Refusal::internal("the store could not be looked at");
        // The permit goes with the work: a client that leaves does not end it.
        let permit = self.scans.clone().acquire_owned().await.map_err(failed)?;
        let handle = self.handle.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = look(&handle);
            drop(permit);
            found
        });
        looked
            .await
            .map_err(|_| Refusal::internal("the store could not be looked at"))
    }
}
