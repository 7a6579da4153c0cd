//! Parca's `WriteRaw` over gRPC.

use axum::extract::{Request, State};
use axum::response::Response;

use super::counters::Door;
use super::{Arrival, Receiver, Upload, otlp_grpc, reply};
use crate::pprof::raw_series::{self, ParcaWriteRaw};

pub(super) const PATH: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw";

pub(super) async fn write_raw(State(receiver): State<Receiver>, request: Request) -> Response {
    if !otlp_grpc::is_grpc(request.headers()) {
        return otlp_grpc::not_grpc();
    }
    let read = async |arrival: Arrival| {
        let Arrival { received, charge } = arrival;
        let (message, charge) = otlp_grpc::read_call(&receiver, request, charge).await?;
        let records = raw_series::from_protobuf::<ParcaWriteRaw>(message, received)?;
        Ok(Upload { records, charge })
    };
    match receiver.receive(Door::ParcaWriteRaw, read).await {
        // WriteRawResponse has no fields.
        Ok(acknowledged) => reply::noting(otlp_grpc::respond(&[]), acknowledged.items),
        Err(refusal) => otlp_grpc::refuse(&refusal),
    }
}
