//! Threads that decode what is too large to be decoded between two polls of a connection.
//!
//! There are as many as there are processors: more at a time would not be quicker, and each request
//! takes several times its size in memory. They are always the same ones, so that what the allocator
//! keeps for a thread is kept few times.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinError;

/// A thread that has nothing to do stays: the next request is near.
const KEEP_ALIVE: Duration = Duration::from_hours(1);

/// The threads; they are started when there is something to do.
#[derive(Debug)]
pub(super) struct Decoders(Option<Runtime>);

impl Decoders {
    pub(super) fn new() -> Self {
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        let runtime = Builder::new_current_thread()
            .thread_name("upriver-decoder")
            .max_blocking_threads(threads)
            .thread_keep_alive(KEEP_ALIVE)
            .build();
        Self(Some(runtime.expect("a runtime without drivers needs nothing that could be missing")))
    }

    /// Runs `work` when it is its turn. An error is a panic of it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let runtime = self.0.as_ref().expect("it is there until it is dropped");
        runtime.spawn_blocking(work).await
    }
}

impl Drop for Decoders {
    /// Without waiting, which a runtime does not allow on the threads of another.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
