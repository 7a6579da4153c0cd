//! Request bodies read under the limits: the size as sent, the size after decompression, the time,
//! and the memory of all requests together.

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::admission::{Charge, Limits};
use super::inflate::{Encoding, Inflater};
use super::refusal::{Class, Refusal};

/// A body in memory, and its share of what is in flight.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) bytes: Bytes,
    pub(super) charge: Charge,
}

/// Reads a whole body.
pub(super) async fn read(
    mut body: Body,
    encoding: Encoding,
    charge: Charge,
    limits: &Limits,
) -> Result<Read, Refusal> {
    let reading = read_pieces(&mut body, encoding, charge, limits);
    timeout(limits.body_timeout, reading).await.unwrap_or_else(|_| Err(too_slow(limits)))
}

async fn read_pieces(
    body: &mut Body,
    encoding: Encoding,
    charge: Charge,
    limits: &Limits,
) -> Result<Read, Refusal> {
    let limit = limits.http_body_bytes_max;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large(limit));
    }
    let Some(first) = next_piece(body).await? else {
        return Ok(Read { bytes: Bytes::new(), charge });
    };
    let mut inflater = Inflater::new(encoding, limit, charge)?;
    inflater.announce(announced)?;
    let mut sent = first.len();
    inflater.write(&first)?;
    while let Some(piece) = next_piece(body).await? {
        sent += piece.len();
        if sent > limit {
            return Err(too_large(limit));
        }
        inflater.write(&piece)?;
    }
    let (bytes, charge) = inflater.finish()?;
    Ok(Read { bytes: bytes.into(), charge })
}

/// The next piece that is not empty; trailers are passed over.
pub(super) async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::invalid(format!("the body broke off: {error}; send the request again"))
        })?;
        match frame.into_data() {
            Ok(piece) if !piece.is_empty() => return Ok(Some(piece)),
            _ => {}
        }
    }
    Ok(None)
}

pub(super) fn too_large(limit: usize) -> Refusal {
    let message =
        format!("the body is larger than the limit of {limit} bytes as sent; send smaller batches");
    Refusal::new(Class::TooLarge, message)
}

pub(super) fn too_slow(limits: &Limits) -> Refusal {
    let message = format!(
        "the body did not arrive within {} s; check the network, or send smaller batches",
        limits.body_timeout.as_secs()
    );
    Refusal::new(Class::TooSlow, message)
}
