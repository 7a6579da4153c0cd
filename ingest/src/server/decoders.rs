//! Threads that decode what is too large to be decoded between two polls of a connection.
//!
//! There are as many as there are processors: more at a time would not be quicker, and each request
//! takes several times its size in memory. They are always the same ones, so that what the allocator
//! keeps for a thread is kept few times.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// A thread that has nothing to do stays: the next request is near.
const KEEP_ALIVE: Duration = Duration::from_hours(1);

/// The threads; they are started when there is something to do.
#[derive(Debug)]
pub(super) struct Decoders {
    /// One for each thread. Who waits for a turn holds its request itself: it goes when the sender does.
    turns: Arc<Semaphore>,
    runtime: Option<Runtime>,
}

impl Decoders {
    pub(super) fn new() -> Self {
        let threads = available_parallelism().map_or(1, NonZeroUsize::get);
        let runtime = Builder::new_current_thread()
            .thread_name("upriver-decoder")
            .max_blocking_threads(threads)
            .thread_keep_alive(KEEP_ALIVE)
            .build();
        let runtime =
            runtime.expect("a runtime without drivers needs nothing that could be missing");
        Self { turns: Arc::new(Semaphore::new(threads)), runtime: Some(runtime) }
    }

    /// Runs `work` when it is its turn. An error is a panic of it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("it is never closed");
        let runtime = self.runtime.as_ref().expect("it is there until it is dropped");
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        runtime.spawn_blocking(work).await
    }
}

impl Drop for Decoders {
    /// Without waiting, which a runtime does not allow on the threads of another.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn who_stops_waiting_leaves_nothing_behind() {
        let decoders = Decoders::new();
        let (finish, all_finish) = mpsc::channel::<()>();
        let all_finish = Arc::new(std::sync::Mutex::new(all_finish));
        let threads = decoders.turns.available_permits();
        for _ in 0..threads {
            let finish = Arc::clone(&all_finish);
            let busy = decoders.run(move || finish.lock().unwrap().recv());
            // The sender goes, the work that began goes on.
            assert!(tokio::time::timeout(Duration::from_millis(10), busy).await.is_err());
        }
        let body = Arc::new([0_u8; 16]);
        let held = Arc::clone(&body);
        let waiting = decoders.run(move || held.len());
        assert!(tokio::time::timeout(Duration::from_millis(10), waiting).await.is_err());
        assert_eq!(Arc::strong_count(&body), 1, "its request is gone with it");
        drop(finish);
        assert_eq!(decoders.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_takes_no_turn_with_it() {
        let decoders = Decoders::new();
        for _ in 0..=decoders.turns.available_permits() {
            assert!(decoders.run(|| panic!("as planned")).await.unwrap_err().is_panic());
        }
        assert_eq!(decoders.run(|| 7).await.unwrap(), 7);
    }
}
