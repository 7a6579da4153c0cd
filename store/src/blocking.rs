//! Heavy work away from the threads that serve requests.

use tokio::task::JoinSet;

use crate::error::StoreError;

/// Runs the work on a blocking thread and gives its result. `what` names the work should it panic.
pub(crate) async fn run<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let mut tasks = JoinSet::new();
    tasks.spawn_blocking(work);
    match tasks.join_next().await {
        Some(Ok(result)) => Ok(result),
        Some(Err(error)) => {
            tracing::error!(what, %error, "a part of the store stopped");
            Err(StoreError::Stopped(what))
        }
        None => Err(StoreError::Stopped(what)),
    }
}
