//! Who may come in, how much they may send, and how connections are encrypted: `auth:`, `limits:`, and
//! `tls:` of each listener.

use std::collections::BTreeSet;
use std::path::PathBuf;

use upriver_ingest::server::{
    AccessOptions, ApiKey, DEFAULT_TENANT, KeyHash, RateLimits, Scope, Sizer,
};

use super::file::{Auth, Given, Key, Limits, Tls};
use super::{ConfigError, Reader, value};

/// How connections to a listener are encrypted. Keys are named as the Collector names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// The certificate, with those that signed it (PEM).
    pub(crate) cert_file: PathBuf,
    /// Its private key (PEM).
    pub(crate) key_file: PathBuf,
    /// Who signs the certificates that clients must show; without it they need none.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub(crate) min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    /// 1.2
    #[default]
    Tls12,
    /// 1.3
    Tls13,
}

/// A mark of the memory limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryMark {
    /// So many bytes.
    Bytes(u64),
    /// A share of what the process may take.
    Percent(u8),
}

/// The Collector recommends a limit of 80 % and to refuse 25 points below it, its `spike_limit`.
pub(super) const MEMORY_DEFAULT: [MemoryMark; 2] =
    [MemoryMark::Percent(55), MemoryMark::Percent(80)];

impl Reader<'_> {
    /// `auth:`
    pub(super) fn access(&self, auth: &Auth) -> Result<AccessOptions, ConfigError> {
        let mut options = AccessOptions::default();
        let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
        for key in auth.keys.iter().flatten() {
            let key = self.key(key)?;
            let twice = |what: &str| self.incomplete("auth.keys", format!("{what} is there twice"));
            if !names.insert(key.name.clone()) {
                return Err(twice(&format!("the name {:?}", key.name)));
            }
            if !hashes.insert(key.hash.to_string()) {
                return Err(twice(&format!("the key of {:?}", key.name)));
            }
            options.keys.push(key);
        }
        options.anonymous = self.scopes("auth.anonymous", auth.anonymous.iter().flatten())?;
        Ok(options)
    }

    fn key(&self, given: &Key) -> Result<ApiKey, ConfigError> {
        let needed = |what: &str| {
            self.incomplete(
                "auth.keys",
                format!("an entry has no {what}; make one with `upriver key create`"),
            )
        };
        let name = given.name.as_ref().ok_or_else(|| needed("name"))?;
        let hash = given.hash.as_ref().ok_or_else(|| needed("hash"))?;
        let mut key = ApiKey {
            name: self.text("auth.keys.name", name)?,
            hash: KeyHash::of(""),
            scopes: self.scopes("auth.keys.scopes", given.scopes.iter().flatten())?,
            tenant: DEFAULT_TENANT.to_owned(),
            other_tenants: Vec::new(),
        };
        self.set("auth.keys.hash", Some(hash), key_hash, &mut key.hash)?;
        self.set("auth.keys.tenant", given.tenant.as_ref(), tenant, &mut key.tenant)?;
        for given in given.tenants.iter().flatten() {
            let mut other = String::new();
            self.set("auth.keys.tenants", Some(given), tenant, &mut other)?;
            key.other_tenants.push(other);
        }
        if key.scopes.is_empty() {
            return Err(needed("scopes"));
        }
        Ok(key)
    }

    fn scopes<'g>(
        &self,
        key: &'static str,
        given: impl Iterator<Item = &'g Given>,
    ) -> Result<Vec<Scope>, ConfigError> {
        let read = |given: &Given| {
            let mut scope = Scope::Read;
            self.set(key, Some(given), named_scope, &mut scope).map(|()| scope)
        };
        given.map(read).collect()
    }

    /// `limits:`, and the marks of the memory limiter.
    pub(super) fn limits(
        &self,
        given: &Limits,
    ) -> Result<(RateLimits, [MemoryMark; 2]), ConfigError> {
        let mut limits = RateLimits::default();
        for (key, given, limit) in [
            ("limits.per_sender", &given.per_sender, &mut limits.per_sender),
            ("limits.per_address", &given.per_address, &mut limits.per_address),
            ("limits.burst", &given.burst, &mut limits.burst),
        ] {
            self.set(key, given.as_ref(), positive, limit)?;
        }
        let loopback = given.loopback.as_ref();
        self.set("limits.loopback", loopback, value::boolean, &mut limits.loopback)?;
        self.set("limits.sizer", given.sizer.as_ref(), sizer, &mut limits.sizer)?;
        let [mut soft, mut hard] = MEMORY_DEFAULT;
        self.set("limits.memory_soft", given.memory_soft.as_ref(), memory, &mut soft)?;
        self.set("limits.memory_hard", given.memory_hard.as_ref(), memory, &mut hard)?;
        Ok((limits, [soft, hard]))
    }

    /// `tls:` of the listener whose keys begin with `section`.
    pub(super) fn tls(
        &self,
        section: &'static str,
        given: Option<&Tls>,
    ) -> Result<Option<TlsSettings>, ConfigError> {
        let Some(given) = given else { return Ok(None) };
        let path = |given: Option<&Given>| {
            let text = given.map(|given| self.text(section, given)).transpose()?;
            Ok(text.filter(|text| !text.is_empty()).map(PathBuf::from))
        };
        let (cert_file, key_file) =
            (path(given.cert_file.as_ref())?, path(given.key_file.as_ref())?);
        let client_ca_file = path(given.client_ca_file.as_ref())?;
        let mut min_version = TlsVersion::default();
        self.set(section, given.min_version.as_ref(), tls_version, &mut min_version)?;
        match (cert_file, key_file) {
            (Some(cert_file), Some(key_file)) => {
                Ok(Some(TlsSettings { cert_file, key_file, client_ca_file, min_version }))
            }
            (None, None) if client_ca_file.is_none() => Ok(None),
            _ => Err(self.incomplete(section, "cert_file and key_file are needed, both of them")),
        }
    }
}

fn key_hash(text: &str) -> Result<KeyHash, String> {
    // The text itself never stands in a message: it may be the key.
    let wrong =
        "this is not sha256: and 64 hexadecimal digits; `upriver key create` prints the hash";
    KeyHash::parse(text).ok_or_else(|| wrong.to_owned())
}

fn tenant(text: &str) -> Result<String, String> {
    upriver_store::tenant_problem(text).map_or_else(
        || Ok(text.to_owned()),
        |problem| Err(format!("{text:?} cannot be a tenant: {problem}")),
    )
}

fn named_scope(text: &str) -> Result<Scope, String> {
    Scope::named(text)
        .ok_or_else(|| format!("{text:?} is not a scope; use telemetry, deploys or read"))
}

fn positive(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a whole number above zero")),
        Ok(number) => Ok(number),
    }
}

fn sizer(text: &str) -> Result<Sizer, String> {
    match text {
        "requests" => Ok(Sizer::Requests),
        "items" => Ok(Sizer::Items),
        "bytes" => Ok(Sizer::Bytes),
        _ => Err(format!("{text:?} is not known; use requests, items or bytes")),
    }
}

fn memory(text: &str) -> Result<MemoryMark, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return value::bytes(text).map(|bytes| MemoryMark::Bytes(bytes as u64));
    };
    let percent = percent.trim().parse().ok().filter(|percent| (1..=100).contains(percent));
    let wrong = || format!("{text:?} is not a share; write it as 80%, or give a size");
    percent.map(MemoryMark::Percent).ok_or_else(wrong)
}

fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        _ => Err(format!("{text:?} is not a version of TLS; use 1.2 or 1.3")),
    }
}
