//! The diagnosis of the checkout incident and of a slow growth, from the bytes that senders would send.

mod checkout;
mod growth;
mod incident;
