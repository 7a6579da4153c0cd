//! Who sends a request, and what it may do.
//!
//! A sender shows a key, or a client certificate that the listener has verified, or nothing. Without
//! configured keys everybody may do everything, which is why listeners are then open to this machine
//! alone unless told otherwise. With keys, each says what its holder may do and whose tables these are;
//! who has none may do what is configured for the anonymous, by default nothing.
//!
//! A request passes [`Access::identify`] first, which finds the sender and hands it to the routes of its
//! tenant; and [`Access::limit`] or [`Access::require`] in front of its route.

mod credentials;
mod door;
mod keys;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Extensions, HeaderMap, Request};
use tokio::time::Instant;

pub use keys::{ApiKey, KeyHash, Scope};

use super::rate::{BucketOf, RateLimiter, RateLimits, Sizer, Standing};
use super::refusal::{Class, Refusal};

/// The tenant of senders whose key names no other.
pub const DEFAULT_TENANT: &str = "default";

/// The other end of a connection, put into each of its requests by whoever accepted it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The certificate that it showed, as DER, if one was asked for and verified.
    pub certificate: Option<Arc<[u8]>>,
}

/// Who may do what, and how often.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// The keys; none at all leaves everything open.
    pub keys: Vec<ApiKey>,
    /// What senders without a key may do where there are keys.
    pub anonymous: Vec<Scope>,
    /// How much senders may send.
    pub rates: RateLimits,
}

/// Decides who may do what.
#[derive(Debug)]
pub struct Access {
    keys: HashMap<KeyHash, Arc<ApiKey>>,
    anonymous: Vec<Scope>,
    limiter: RateLimiter,
    started: Instant,
    counts: AccessCounts,
}

/// Decisions since the start.
#[derive(Debug, Default)]
pub(super) struct AccessCounts {
    /// Requests whose key is unknown or missing.
    pub(super) unauthenticated: AtomicU64,
    /// Requests for what the key does not allow, tenants included.
    pub(super) forbidden: AtomicU64,
    /// Requests that the limiter let in.
    pub(super) admitted: AtomicU64,
    /// Requests that came too often.
    pub(super) limited: AtomicU64,
    /// Requests that the limiter did not look at.
    pub(super) exempt: AtomicU64,
}

/// Who sent a request, put into it by [`Access::identify`].
#[derive(Clone, Debug)]
pub(super) struct Sender {
    key: Option<Arc<ApiKey>>,
    /// A hash of its verified certificate.
    certificate: Option<Arc<str>>,
    address: Option<IpAddr>,
    /// What it may do.
    scopes: Arc<[Scope]>,
    tenant: Arc<str>,
}

/// The sender of a request, from what [`Access::identify`] put into it.
pub(super) fn of(extensions: &Extensions) -> Result<&Sender, Refusal> {
    extensions.get().ok_or_else(|| {
        Refusal::new(Class::Internal, "the sender was not identified; please report this")
    })
}

impl Sender {
    /// Whether it may do this.
    fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it may do this, and if not, what would help.
    pub(super) fn check(&self, scope: Scope) -> Result<(), Refusal> {
        if self.may(scope) {
            return Ok(());
        }
        let scope = scope.name();
        Err(match &self.key {
            Some(key) => Refusal::new(
                Class::Forbidden,
                format!("the key {:?} does not have the scope {scope}", key.name),
            ),
            None => Refusal::new(
                Class::Unauthenticated,
                format!(
                    "this needs a key with the scope {scope}; send it as `Authorization: Bearer KEY`"
                ),
            ),
        })
    }

    /// How it is called in logs: never by its key.
    fn name(&self) -> Arc<str> {
        match (&self.key, &self.certificate) {
            (Some(key), _) => key.name.as_str().into(),
            (None, Some(certificate)) => Arc::clone(certificate),
            (None, None) => "anonymous".into(),
        }
    }

    fn bucket(&self) -> BucketOf {
        if self.key.is_some() || self.certificate.is_some() {
            return BucketOf::Sender(self.name());
        }
        self.address.map_or(BucketOf::Rest, BucketOf::address)
    }

    fn is_on_this_machine(&self) -> bool {
        self.address.is_some_and(|address| address.to_canonical().is_loopback())
    }
}

impl Access {
    /// The decisions that these options ask for.
    pub fn new(options: AccessOptions) -> Arc<Self> {
        let AccessOptions { keys, anonymous, rates } = options;
        let anonymous = if keys.is_empty() { Scope::ALL.to_vec() } else { anonymous };
        Arc::new(Self {
            keys: keys.into_iter().map(|key| (key.hash, Arc::new(key))).collect(),
            anonymous,
            limiter: RateLimiter::new(rates),
            started: Instant::now(),
            counts: AccessCounts::default(),
        })
    }

    /// Every tenant that a key may name, the default one among them.
    pub fn tenants(options: &AccessOptions) -> BTreeSet<String> {
        let named = options
            .keys
            .iter()
            .flat_map(|key| std::iter::once(&key.tenant).chain(&key.other_tenants));
        named.cloned().chain([DEFAULT_TENANT.to_owned()]).collect()
    }

    /// Who sends this request.
    fn sender<B>(&self, request: &Request<B>) -> Result<Sender, Refusal> {
        let peer = request.extensions().get::<Peer>();
        let certificate = peer.and_then(|peer| peer.certificate.as_ref());
        let key = if self.keys.is_empty() { None } else { self.key(request.headers())? };
        let tenant = self.tenant(key.as_deref(), request.headers())?;
        let scopes = key.as_ref().map_or(&self.anonymous, |key| &key.scopes);
        Ok(Sender {
            scopes: scopes.as_slice().into(),
            key,
            certificate: certificate.map(|der| keys::certificate_name(der).into()),
            address: peer.map(|peer| peer.address),
            tenant: tenant.into(),
        })
    }

    fn key(&self, headers: &HeaderMap) -> Result<Option<Arc<ApiKey>>, Refusal> {
        let Some(shown) = credentials::key(headers)? else { return Ok(None) };
        let known = self.keys.get(&KeyHash::of(&shown)).map(Arc::clone);
        known.map(Some).ok_or_else(|| {
            Refusal::new(
                Class::Unauthenticated,
                "the key is unknown; make one with `upriver key create` and add its hash to auth.keys",
            )
        })
    }

    /// The tenant of a key. Where there are keys, a header that asks for another is refused rather than
    /// passed over: the data would land with somebody else. Without keys there is one tenant, and the
    /// header means nothing, as in Pyroscope and Mimir without tenants.
    fn tenant(&self, key: Option<&ApiKey>, headers: &HeaderMap) -> Result<String, Refusal> {
        let own = key.map_or(DEFAULT_TENANT, |key| &key.tenant);
        if self.keys.is_empty() {
            return Ok(own.to_owned());
        }
        let Some(asked) = credentials::tenant(headers)? else { return Ok(own.to_owned()) };
        let others = key.map_or(&[][..], |key| &key.other_tenants);
        if asked == own || others.iter().any(|other| other == asked) {
            return Ok(asked.to_owned());
        }
        Err(Refusal::new(
            Class::Forbidden,
            format!(
                "the tenant {asked:?} of {} is not one that the key may name; leave the header out, or add it to the key's tenants",
                credentials::TENANT_HEADER
            ),
        ))
    }

    /// Takes a request's place under the sender's limit; none where the limiter does not look.
    fn admit(&self, sender: &Sender) -> Result<Option<Standing>, Refusal> {
        if sender.is_on_this_machine() && !self.limiter.limits().loopback {
            count(&self.counts.exempt);
            return Ok(None);
        }
        match self.limiter.admit(sender.bucket(), self.started.elapsed()) {
            Ok(standing) => {
                count(&self.counts.admitted);
                Ok(Some(standing))
            }
            Err(wait) => {
                count(&self.counts.limited);
                Err(Refusal::too_often(wait))
            }
        }
    }

    /// Charges what a request turned out to hold.
    fn charge(&self, sender: &Sender, items: u64, bytes: u64) {
        let units = match self.limiter.limits().sizer {
            Sizer::Requests => return,
            Sizer::Items => items,
            Sizer::Bytes => bytes,
        };
        self.limiter.charge(sender.bucket(), units, self.started.elapsed());
    }

    /// What was decided so far, and for how many senders there are buckets.
    pub(super) fn counts(&self) -> (&AccessCounts, usize) {
        (&self.counts, self.limiter.buckets())
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
