//! Where the store will be: the doors open before the log is replayed, and until then tell the
//! sender to come back.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use upriver_store::snapshot::{Snapshot, SnapshotSource};
use upriver_store::store::Store;

use super::refusal::Refusal;

/// The place of the one store that all doors write to.
#[derive(Default)]
pub struct StoreSlot {
    state: RwLock<State>,
}

#[derive(Clone, Default)]
enum State {
    #[default]
    Replaying,
    Ready(Arc<Store>),
    Stopping,
}

impl StoreSlot {
    /// A slot whose store is being opened.
    pub fn replaying() -> Arc<Self> {
        Arc::default()
    }

    /// A slot with an open store.
    pub fn ready(store: Arc<Store>) -> Arc<Self> {
        let slot = Self::default();
        slot.fill(store);
        Arc::new(slot)
    }

    /// Puts the open store in: from now on requests are taken.
    pub fn fill(&self, store: Arc<Store>) {
        self.set(State::Ready(store));
    }

    /// Takes the store out: from now on requests are refused.
    pub fn stop(&self) -> Option<Arc<Store>> {
        match self.set(State::Stopping) {
            State::Ready(store) => Some(store),
            State::Replaying | State::Stopping => None,
        }
    }

    /// Why requests are not taken now; `None` when they are.
    pub fn not_ready(&self) -> Option<&'static str> {
        match self.state() {
            State::Ready(_) => None,
            State::Replaying => Some("replaying the log of acknowledged requests"),
            State::Stopping => Some("shutting down"),
        }
    }

    /// The open store, if there is one.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.open().ok()
    }

    /// The open store, or what the sender is told instead.
    pub(super) fn open(&self) -> Result<Arc<Store>, Refusal> {
        match self.state() {
            State::Ready(store) => Ok(store),
            State::Replaying => Err(Refusal::unavailable(
                "not ready: replaying the log of acknowledged requests; send again later",
            )),
            State::Stopping => {
                Err(Refusal::unavailable("shutting down; send again to the restarted server"))
            }
        }
    }

    fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: State) -> State {
        let mut now = self.state.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *now, state)
    }
}

/// Without a store there are no rows; callers ask [`StoreSlot::not_ready`] first.
impl SnapshotSource for StoreSlot {
    fn snapshot(&self) -> Snapshot {
        match self.state() {
            State::Ready(store) => store.snapshot(),
            State::Replaying | State::Stopping => Snapshot::default(),
        }
    }
}

impl fmt::Debug for StoreSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSlot").field("not_ready", &self.not_ready()).finish()
    }
}
