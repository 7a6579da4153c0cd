//! Keys, kept as their hashes: who reads the configuration cannot use them.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::server::webhook_secrets::bytes_of_hex;

/// What a key's holder may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Send spans, metrics, logs and profiles.
    Telemetry,
    /// Record deploys and other changes.
    Deploys,
    /// Query, diagnose and read metrics.
    Read,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Telemetry, Self::Deploys, Self::Read];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Deploys => "deploys",
            Self::Read => "read",
        }
    }

    /// The scope with a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A key: who holds it, what that one may do, and whose tables it writes and reads.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// How the holder is called in logs.
    pub name: String,
    /// The hash of the key itself.
    pub hash: KeyHash,
    /// What the holder may do.
    pub scopes: Vec<Scope>,
    /// Whose tables these are unless the request names another tenant.
    pub tenant: String,
    /// The other tenants that a request may name in `X-Scope-OrgID`.
    pub other_tenants: Vec<String>,
}

/// SHA-256 of a key. Keys are made of 244 random bits, so they need no salt and no slow hash, which are
/// there for passwords that can be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

const PREFIX: &str = "sha256:";

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        bytes_of_hex(text.strip_prefix(PREFIX)?.as_bytes()).map(Self)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How the holder of a certificate is called: by the beginning of the certificate's fingerprint.
pub(super) fn certificate_name(der: &[u8]) -> String {
    let digits: String = Sha256::digest(der).iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("certificate {digits}")
}
