//! Why a request is not taken, told in the terms of each protocol.

use std::time::Duration;

use http::StatusCode;
use tonic::Code;
use upriver_store::error::StoreError;

use crate::{DecodeError, DecodeErrorKind};

/// When a sender is told to come back while the store or the memory is full: long enough for a
/// commit to make room, short enough that exporters keep their batch.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Longest message sent back. OTLP recommends 4 MiB for a whole response; a person reads far less,
/// and gRPC messages travel in headers, which clients limit to 8 KiB.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The class of a refusal: it decides the status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The request breaks a rule of its format.
    Invalid,
    /// The request is over a size limit.
    TooLarge,
    /// The body took too long to arrive.
    TooSlow,
    /// The body is of a media type or encoding that this path does not take.
    MediaType,
    /// The method is not taken on this path.
    Method,
    /// The path is unknown.
    Path,
    /// The sender does not show that it is who it should be.
    Unauthenticated,
    /// The sender may not ask this from where it asks.
    Forbidden,
    /// The path is known, but what it is for is not taken.
    NotTaken,
    /// It would work later: sending again loses nothing.
    Unavailable,
    /// The sender is over its limit, and told how long to wait.
    TooOften,
    /// The sender broke the protocol around the message.
    Protocol,
    /// A defect or a broken disk.
    Internal,
}

/// Why a request is not taken: what failed, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) class: Class,
    pub(super) message: String,
    /// When to send again, where that is known better than by the class.
    wait: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(class: Class, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
            message.truncate(end);
            message.push_str("...");
        }
        Self { class, message, wait: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Class::Invalid, message)
    }

    pub(super) fn media_type(message: impl Into<String>) -> Self {
        Self::new(Class::MediaType, message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Class::Unavailable, message)
    }

    /// For a sender that is over its limit.
    pub(super) fn too_often(wait: Duration) -> Self {
        let message = format!(
            "more is sent than allowed; wait {:.1} s, send larger batches, or raise limits.per_sender or limits.per_address",
            wait.as_secs_f64()
        );
        Self { wait: Some(wait), ..Self::new(Class::TooOften, message) }
    }

    /// The HTTP status. OTLP exporters retry 429, 502, 503 and 504 alone.
    pub(super) fn http_status(&self) -> StatusCode {
        match self.class {
            Class::Invalid | Class::Protocol => StatusCode::BAD_REQUEST,
            Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Class::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Class::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Class::Method => StatusCode::METHOD_NOT_ALLOWED,
            Class::Path => StatusCode::NOT_FOUND,
            Class::Unauthenticated => StatusCode::UNAUTHORIZED,
            Class::Forbidden => StatusCode::FORBIDDEN,
            Class::NotTaken => StatusCode::NOT_IMPLEMENTED,
            Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Class::TooOften => StatusCode::TOO_MANY_REQUESTS,
            Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC code. OTLP exporters retry `UNAVAILABLE`, and `RESOURCE_EXHAUSTED` with retry advice;
    /// without advice they drop, which is right for a request that will never fit.
    pub(super) fn grpc_code(&self) -> Code {
        match self.class {
            Class::Invalid => Code::InvalidArgument,
            Class::TooLarge | Class::TooOften => Code::ResourceExhausted,
            Class::TooSlow => Code::DeadlineExceeded,
            Class::MediaType | Class::Method | Class::Path | Class::NotTaken => Code::Unimplemented,
            Class::Unauthenticated => Code::Unauthenticated,
            Class::Forbidden => Code::PermissionDenied,
            Class::Unavailable => Code::Unavailable,
            Class::Protocol | Class::Internal => Code::Internal,
        }
    }

    /// The gRPC code in words, as the Connect protocol writes it.
    pub(super) fn connect_code(&self) -> &'static str {
        match self.grpc_code() {
            Code::InvalidArgument => "invalid_argument",
            Code::ResourceExhausted => "resource_exhausted",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::Unimplemented => "unimplemented",
            Code::Unauthenticated => "unauthenticated",
            Code::PermissionDenied => "permission_denied",
            Code::Unavailable => "unavailable",
            _ => "internal",
        }
    }

    /// When to send again, where that can help.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.wait.or_else(|| (self.class == Class::Unavailable).then_some(RETRY_AFTER))
    }

    /// Whether this side failed, not the sender.
    pub(super) fn is_our_fault(&self) -> bool {
        matches!(self.class, Class::Unavailable | Class::Internal)
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let class = match error.kind() {
            DecodeErrorKind::InvalidArgument => Class::Invalid,
            DecodeErrorKind::TooLarge => Class::TooLarge,
            DecodeErrorKind::Unsupported => Class::MediaType,
        };
        Self::new(class, error.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let class = match &error {
            StoreError::RecordTooLarge { .. } => Class::TooLarge,
            error if error.is_retryable() => Class::Unavailable,
            _ => Class::Internal,
        };
        Self::new(class, error.to_string())
    }
}
