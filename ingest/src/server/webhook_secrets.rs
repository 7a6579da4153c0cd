//! Who may send webhooks: secrets that a sender signs its body with, or sends along.
//!
//! A sender without a configured secret is taken as it comes, as is everything else that reaches the
//! listener; a sender with one is refused unless it shows that it knows it.

use std::fmt;

use hmac::{Hmac, Mac};
use http::HeaderMap;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::refusal::{Class, Refusal};

/// A secret shared with a sender. It is never printed.
#[derive(Clone)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// A secret; `None` for an empty text, which protects nothing.
    pub fn new(secret: String) -> Option<Self> {
        (!secret.is_empty()).then_some(Self(secret))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The secrets of those who send webhooks.
#[derive(Clone, Debug, Default)]
pub struct DeploySecrets {
    /// GitHub signs bodies with it: `X-Hub-Signature-256`.
    pub github: Option<WebhookSecret>,
    /// GitLab sends it along: `X-Gitlab-Token`.
    pub gitlab: Option<WebhookSecret>,
    /// Flux's provider `generic-hmac` signs bodies with it: `X-Signature`.
    pub flux: Option<WebhookSecret>,
}

impl DeploySecrets {
    pub(super) fn check_github(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let Some(secret) = &self.github else { return Ok(()) };
        let advice = "set the webhook's secret to api.webhooks.github_secret";
        check_signature(secret, headers, "x-hub-signature-256", body, advice)
    }

    pub(super) fn check_flux(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let Some(secret) = &self.flux else { return Ok(()) };
        let advice = "use the provider generic-hmac with the token of api.webhooks.flux_secret";
        check_signature(secret, headers, "x-signature", body, advice)
    }

    pub(super) fn check_gitlab(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(secret) = &self.gitlab else { return Ok(()) };
        let advice = "set the webhook's secret token to api.webhooks.gitlab_token";
        let token = header(headers, "x-gitlab-token", advice)?;
        if bool::from(token.ct_eq(secret.0.as_bytes())) {
            return Ok(());
        }
        Err(refused("the token in x-gitlab-token is not the configured one", advice))
    }
}

/// Checks `sha256=HEX`, the HMAC over the body as it was sent.
fn check_signature(
    secret: &WebhookSecret,
    headers: &HeaderMap,
    name: &str,
    body: &[u8],
    advice: &str,
) -> Result<(), Refusal> {
    let signature = header(headers, name, advice)?;
    let digest = signature.strip_prefix(b"sha256=").and_then(bytes_of_hex);
    let Some(digest) = digest else {
        let what = format!("the signature in {name} is not sha256= and 64 hexadecimal digits");
        return Err(refused(&what, advice));
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.0.as_bytes())
        .map_err(|error| Refusal::new(Class::Internal, format!("cannot check {name}: {error}")))?;
    mac.update(body);
    // Compares in constant time.
    mac.verify_slice(&digest).map_err(|_error| {
        refused(&format!("the signature in {name} does not match the body"), advice)
    })
}

/// The one value of a header.
fn header<'h>(headers: &'h HeaderMap, name: &str, advice: &str) -> Result<&'h [u8], Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes()),
        (None, _) => Err(refused(&format!("the header {name} is missing"), advice)),
        (Some(_), Some(_)) => {
            Err(refused(&format!("the header {name} is there more than once"), advice))
        }
    }
}

fn refused(what: &str, advice: &str) -> Refusal {
    Refusal::new(Class::Unauthenticated, format!("{what}; {advice}"))
}

/// The bytes of 64 hexadecimal digits.
pub(super) fn bytes_of_hex(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<WebhookSecret> {
        WebhookSecret::new(text.to_owned())
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect()
    }

    /// The example of GitHub's documentation on validating deliveries.
    #[test]
    fn the_documented_signature_is_the_right_one() {
        let secrets = DeploySecrets {
            github: secret("It's a Secret to Everybody"),
            ..DeploySecrets::default()
        };
        let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let check = |signature: &str, body: &[u8]| {
            secrets.check_github(&headers("x-hub-signature-256", signature), body)
        };
        check(right, b"Hello, World!").unwrap();
        check(&right.to_uppercase().replace("SHA", "sha"), b"Hello, World!").unwrap();
        for (signature, body, expected) in [
            (right, &b"Hello, World"[..], "does not match the body"),
            (&right.replace('7', "8"), b"Hello, World!", "does not match the body"),
            (
                right.trim_end_matches('7'),
                b"Hello, World!",
                "is not sha256= and 64 hexadecimal digits",
            ),
            (
                right.trim_start_matches("sha256="),
                b"Hello, World!",
                "is not sha256= and 64 hexadecimal digits",
            ),
            (&right.replace("sha256", "sha1"), b"Hello, World!", "is not sha256="),
            (&right.replace('e', "g"), b"Hello, World!", "is not sha256="),
            ("", b"Hello, World!", "is not sha256="),
        ] {
            let refusal = check(signature, body).unwrap_err();
            assert_eq!(refusal.http_status().as_u16(), 401);
            assert!(refusal.message.contains(expected), "{}", refusal.message);
        }
        let twice = [right, right]
            .map(|value| ("x-hub-signature-256".parse().unwrap(), value.parse().unwrap()));
        let refusal = secrets.check_github(&twice.into_iter().collect(), b"Hello, World!");
        assert!(refusal.unwrap_err().message.contains("more than once"));
    }

    #[test]
    fn tokens_are_compared_as_a_whole() {
        let secrets = DeploySecrets { gitlab: secret("tøken"), ..DeploySecrets::default() };
        let check = |token: &str| {
            let value = http::HeaderValue::from_bytes(token.as_bytes()).unwrap();
            let headers = [("x-gitlab-token".parse().unwrap(), value)].into_iter().collect();
            secrets.check_gitlab(&headers)
        };
        check("tøken").unwrap();
        for wrong in ["", "tøke", "tøkenx", "TØKEN", "token"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert!(secrets.check_gitlab(&HeaderMap::new()).unwrap_err().message.contains("missing"));
    }

    #[test]
    fn without_a_secret_nothing_is_asked() {
        let none = DeploySecrets::default();
        none.check_github(&HeaderMap::new(), b"").unwrap();
        none.check_gitlab(&HeaderMap::new()).unwrap();
        none.check_flux(&headers("x-signature", "sha256=00"), b"").unwrap();
        assert!(secret("").is_none(), "an empty secret is none");
    }

    #[test]
    fn secrets_are_not_printed() {
        let secrets =
            DeploySecrets { github: secret("hush"), flux: secret("hush"), gitlab: secret("hush") };
        let printed = format!("{secrets:?} {secrets:#?}");
        assert!(!printed.contains("hush") && printed.contains("(secret)"), "{printed}");
    }
}
