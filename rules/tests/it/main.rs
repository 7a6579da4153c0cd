//! The diagnosis of the checkout incident, of a slow growth and of fast requests that are missing, from the bytes that
//! senders would send.

mod checkout;
mod growth;
mod incident;
mod missing;
